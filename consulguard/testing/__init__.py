"""What tests of playbooks, plug-ins or consulguard itself need: twins of outside servers, a sample mesh."""

from consulguard.clock import FakeClock
from consulguard.testing.mesh import SampleMesh
from consulguard.testing.ranking import rank
from consulguard.testing.real_consul import RealConsul
from consulguard.testing.recording import RecordingNotifier
from consulguard.testing.slack_people import SlackPeople
from consulguard.testing.slack_twin import SlackTwin
from consulguard.testing.twin import ConsulTwin

__all__ = [
    "ConsulTwin",
    "FakeClock",
    "RealConsul",
    "RecordingNotifier",
    "SampleMesh",
    "SlackPeople",
    "SlackTwin",
    "rank",
]
