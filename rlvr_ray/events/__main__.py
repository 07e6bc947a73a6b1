"""``python -m rlvr_ray.events`` prints the JSON Schema of events."""

import json
import sys

from rlvr_ray.events.schema import schema

sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
