"""Write docs/playbook.schema.json from the models. A test fails while it is not current."""

import json
from pathlib import Path

from consulguard.plan import json_schema

if __name__ == "__main__":
    file = Path(__file__).parents[1] / "docs" / "playbook.schema.json"
    file.write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
