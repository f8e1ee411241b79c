"""``python -m consulguard``"""

from consulguard.cli import main

main()
