"""demo"""
from consulguard.cli.options import Options


def demo(options: Options) -> int:
    """Demo."""
    return 0
