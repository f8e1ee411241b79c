"""``consulguard check`` of receivers: asked, not told."""

import pytest
from consulguard.app.reach import receiver_findings
from consulguard.config import load

from tests.support.alertmanager import RealAlertmanager, need_alertmanager


@pytest.mark.real
async def test_what_answers_and_what_does_not(tmp_path, unused_tcp_port):
    need_alertmanager()
    for name, url in (("good", "json://127.0.0.1/x"), ("bad", "nonsense://hush")):
        (tmp_path / name).write_text(url)
        (tmp_path / name).chmod(0o600)
    with RealAlertmanager() as server:
        receivers = f"""
receivers:
  am: {{kind: alertmanager, url: "{server.address}"}}
  away: {{kind: alertmanager, url: "http://127.0.0.1:{unused_tcp_port}"}}
  lost: {{kind: alertmanager, url: "{server.address}/elsewhere"}}
  page: {{kind: apprise, url_file: good}}
  post: {{kind: apprise, url_file: bad}}
  quiet: {{kind: none}}
"""
        (tmp_path / "c.yaml").write_text(receivers)
        findings = await receiver_findings(load(str(tmp_path / "c.yaml"), {}, {}), 20)
        assert server.alerts() == []
    said = {f.text.partition(":")[0]: (f.ok, f.text.partition(": ")[2]) for f in findings}
    assert said == {
        "am": (True, "answers"),
        "away": (False, "does not answer (ClientConnectorError); check url"),
        "lost": (False, "answers 404; check url and token_file"),
        "page": (True, "apprise understands its URL"),
        "post": (False, "is no URL of apprise"),
    }
