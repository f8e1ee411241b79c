"""The Web API's methods: functions of the workspace and the call's arguments. What they refuse they raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consulguard.testing import slack_blocks, slack_views
from consulguard.testing.slack_state import (
    Ephemeral,
    JsonDict,
    SlackChannel,
    SlackFile,
    SlackMessage,
    SlackRefusal,
    SlackView,
    Workspace,
)

Method = Callable[[Workspace, JsonDict], JsonDict]
PAGE = 1000


def auth_test(space: Workspace, args: JsonDict) -> JsonDict:
    return {
        "url": space.url,
        "team": "Twin",
        "team_id": space.team,
        "user": "consulguard",
        "user_id": space.bot_user,
        "bot_id": space.bot,
        "is_enterprise_install": False,
    }


# ---- chat


def post(space: Workspace, args: JsonDict) -> JsonDict:
    channel = _writable(space, args)
    slack_blocks.refuse(args)
    thread = str(args.get("thread_ts") or "")
    if thread and not any(m.ts == thread and m.channel == channel.id for m in space.messages):
        raise SlackRefusal("thread_not_found")
    message = SlackMessage(channel=channel.id, ts=space.stamp(), text="", thread_ts=thread)
    _write(message, args)
    space.messages.append(message)
    return {"channel": channel.id, "ts": message.ts, "message": shown(space, message)}


def update(space: Workspace, args: JsonDict) -> JsonDict:
    channel = find_channel(space, args, by_name=False)
    slack_blocks.refuse(args)
    message = _message(space, channel, args.get("ts"))
    _write(message, args)
    message.edits += 1
    return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": shown(space, message)}


def delete(space: Workspace, args: JsonDict) -> JsonDict:
    channel = find_channel(space, args, by_name=False)
    message = _message(space, channel, args.get("ts"))
    space.messages.remove(message)
    return {"channel": channel.id, "ts": message.ts}


def post_ephemeral(space: Workspace, args: JsonDict) -> JsonDict:
    channel = _writable(space, args)
    slack_blocks.refuse(args)
    user = str(args.get("user") or "")
    if user not in space.users or user not in channel.members:
        raise SlackRefusal("user_not_in_channel")
    seen = Ephemeral(channel.id, user, args.get("text") or "", args.get("blocks") or [])
    space.ephemerals.append(seen)
    return {"message_ts": space.stamp()}


def permalink(space: Workspace, args: JsonDict) -> JsonDict:
    channel = find_channel(space, args, by_name=False)
    message = _message(space, channel, args.get("message_ts"))
    ts = message.ts.replace(".", "")
    return {"channel": channel.id, "permalink": f"https://twin.slack.com/archives/{channel.id}/p{ts}"}


def shown(space: Workspace, message: SlackMessage, *, metadata: bool = False) -> JsonDict:
    """As Slack shows a message. ``event_payload`` is only shown to who asks for all metadata."""
    told: JsonDict = {
        "type": "message",
        "user": space.bot_user,
        "bot_id": space.bot,
        "text": message.text,
        "ts": message.ts,
    }
    for name in ("blocks", "attachments", "thread_ts"):
        if getattr(message, name):
            told[name] = getattr(message, name)
    if message.metadata:
        told["metadata"] = message.metadata if metadata else {"event_type": message.metadata["event_type"]}
    if message.edits:
        told["edited"] = {"user": space.bot_user, "ts": message.ts}
    if message.files:
        told["files"] = [{"id": each, "name": space.files[each].name} for each in message.files]
    return told


def _message(space: Workspace, channel: SlackChannel, ts: Any) -> SlackMessage:
    for message in space.messages:
        if (message.channel, message.ts) == (channel.id, ts):
            return message
    raise SlackRefusal("message_not_found")


def _write(message: SlackMessage, args: JsonDict) -> None:
    message.text = args.get("text") or ""
    message.blocks = args.get("blocks") or []
    message.attachments = args.get("attachments") or []
    if args.get("metadata"):
        message.metadata = args["metadata"]


def _writable(space: Workspace, args: JsonDict) -> SlackChannel:
    channel = find_channel(space, args)
    if channel.is_archived:
        raise SlackRefusal("is_archived")
    if not channel.is_member:
        raise SlackRefusal("not_in_channel")
    return channel


# ---- conversations


def find_channel(space: Workspace, args: JsonDict, *, by_name: bool = True) -> SlackChannel:
    wanted = str(args.get("channel") or "")
    for channel in space.channels.values():
        if wanted == channel.id or (by_name and wanted.removeprefix("#") == channel.name):
            return channel
    raise SlackRefusal("channel_not_found")


def channels(space: Workspace, args: JsonDict) -> JsonDict:
    kinds = str(args.get("types") or "public_channel").split(",")
    found = [
        c for c in space.channels.values() if ("private_channel" if c.is_private else "public_channel") in kinds
    ]
    if str(args.get("exclude_archived", "")).lower() in ("1", "true"):
        found = [c for c in found if not c.is_archived]
    page, after = _page([_channel(c) for c in found], args, 100)
    return {"channels": page, "response_metadata": {"next_cursor": after}}


def channel_info(space: Workspace, args: JsonDict) -> JsonDict:
    return {"channel": _channel(find_channel(space, args, by_name=False))}


def history(space: Workspace, args: JsonDict) -> JsonDict:
    """Newest first, without replies."""
    return _messages(space, args, lambda m: not m.thread_ts, newest_first=True)


def replies(space: Workspace, args: JsonDict) -> JsonDict:
    """The parent, then its thread, oldest first."""
    ts = args.get("ts")
    channel = find_channel(space, args, by_name=False)
    if not any((m.channel, m.ts) == (channel.id, ts) for m in space.messages):
        raise SlackRefusal("thread_not_found")
    return _messages(space, args, lambda m: ts in (m.ts, m.thread_ts), newest_first=False)


def members(space: Workspace, args: JsonDict) -> JsonDict:
    page, after = _page(find_channel(space, args, by_name=False).members, args, 100)
    return {"members": page, "response_metadata": {"next_cursor": after}}


def _channel(channel: SlackChannel) -> JsonDict:
    fields = {"name": channel.name, "is_member": channel.is_member, "is_archived": channel.is_archived}
    return {"id": channel.id, "is_channel": True, "is_private": channel.is_private, **fields}


def _messages(
    space: Workspace, args: JsonDict, wanted: Callable[[SlackMessage], bool], *, newest_first: bool
) -> JsonDict:
    channel = find_channel(space, args, by_name=False)
    if not channel.is_member:
        raise SlackRefusal("not_in_channel")
    oldest, latest = str(args.get("oldest") or "0"), str(args.get("latest") or "9" * 10)
    found = [m for m in space.messages if m.channel == channel.id and wanted(m)]
    found = [m for m in found if float(oldest) < float(m.ts) < float(latest)]
    ordered = found[::-1] if newest_first else found
    everything = str(args.get("include_all_metadata", "")).lower() in ("1", "true")
    page, after = _page([shown(space, m, metadata=everything) for m in ordered], args, 100)
    return {"messages": page, "has_more": bool(after), "response_metadata": {"next_cursor": after}}


def _page(found: list[Any], args: JsonDict, usual: int) -> tuple[list[Any], str]:
    """One page, and the cursor of the next one (empty at the end)."""
    try:
        start, size = int(args.get("cursor") or 0), int(args.get("limit") or usual)
    except ValueError:
        raise SlackRefusal("invalid_cursor") from None
    if not 1 <= size <= PAGE:
        raise SlackRefusal("invalid_limit")
    end = start + size
    return found[start:end], str(end) if end < len(found) else ""


# ---- people


def user_info(space: Workspace, args: JsonDict) -> JsonDict:
    user = space.users.get(str(args.get("user") or ""))
    if user is None:
        raise SlackRefusal("user_not_found")
    fields = {name: getattr(user, name) for name in user.__dataclass_fields__}
    return {"user": fields | {"real_name": user.name, "profile": {"display_name": user.name}}}


def usergroups(space: Workspace, args: JsonDict) -> JsonDict:
    disabled = str(args.get("include_disabled", "")).lower() in ("1", "true")
    found = [g for g in space.usergroups.values() if disabled or not g.disabled]
    rows: list[JsonDict] = [{"id": g.id, "handle": g.handle, "name": g.handle, "date_delete": 0} for g in found]
    if str(args.get("include_users", "")).lower() in ("1", "true"):
        rows = [{**row, "users": list(g.users)} for row, g in zip(rows, found, strict=True)]
    return {"usergroups": rows}


def usergroup_users(space: Workspace, args: JsonDict) -> JsonDict:
    group = space.usergroups.get(str(args.get("usergroup") or ""))
    if group is None:
        raise SlackRefusal("no_such_subteam")
    return {"users": [] if group.disabled else list(group.users)}


# ---- files and modals


def upload_url(space: Workspace, args: JsonDict) -> JsonDict:
    name, length = str(args.get("filename") or ""), str(args.get("length") or "")
    if not name or not length.isdigit() or int(length) < 1:
        raise SlackRefusal("invalid_arguments")
    made = SlackFile(id=f"F{space.number():05}", name=name, length=int(length))
    space.files[made.id] = made
    return {"file_id": made.id, "upload_url": f"{space.url}upload/{made.id}"}


def complete_upload(space: Workspace, args: JsonDict) -> JsonDict:
    wanted = args.get("files")
    if not isinstance(wanted, list) or not wanted:
        raise SlackRefusal("invalid_arguments")
    channel = _writable(space, {"channel": args["channel_id"]}) if args.get("channel_id") else None
    found = []
    for each in wanted:
        file = space.files.get(str(each.get("id")))
        if file is None or file.body is None or len(file.body) != file.length or file.done:
            raise SlackRefusal("file_not_found")
        file.title = str(each.get("title") or file.name)
        found.append(file)
    for file in found:
        file.done = True
    if channel is not None:
        text, thread = str(args.get("initial_comment") or ""), str(args.get("thread_ts") or "")
        shared = SlackMessage(channel=channel.id, ts=space.stamp(), text=text, thread_ts=thread)
        shared.files = [file.id for file in found]
        space.messages.append(shared)
    return {"files": [{"id": file.id, "title": file.title} for file in found]}


def open_view(space: Workspace, args: JsonDict) -> JsonDict:
    trigger, view = str(args.get("trigger_id") or ""), args.get("view")
    if trigger in space.used_triggers:
        raise SlackRefusal("exchanged_trigger_id")
    if trigger not in space.triggers:
        raise SlackRefusal("invalid_trigger_id")
    if found := slack_views.problems(view):
        raise SlackRefusal("invalid_arguments", [f"[ERROR] {each}" for each in found])
    space.triggers.discard(trigger)
    space.used_triggers.add(trigger)
    opened = SlackView(id=f"V{space.number():05}", trigger_id=trigger, view=view if isinstance(view, dict) else {})
    space.views.append(opened)
    return {"view": opened.view | {"id": opened.id, "team_id": space.team, "app_id": space.app}}


METHODS: dict[str, tuple[Method, str]] = {  # and the scope each needs
    "auth.test": (auth_test, ""),
    "chat.delete": (delete, "chat:write"),
    "chat.getPermalink": (permalink, ""),
    "chat.postEphemeral": (post_ephemeral, "chat:write"),
    "chat.postMessage": (post, "chat:write"),
    "chat.update": (update, "chat:write"),
    "conversations.history": (history, "channels:history"),
    "conversations.info": (channel_info, "channels:read"),
    "conversations.list": (channels, "channels:read"),
    "conversations.members": (members, "channels:read"),
    "conversations.replies": (replies, "channels:history"),
    "files.completeUploadExternal": (complete_upload, "files:write"),
    "files.getUploadURLExternal": (upload_url, "files:write"),
    "usergroups.list": (usergroups, "usergroups:read"),
    "usergroups.users.list": (usergroup_users, "usergroups:read"),
    "users.info": (user_info, "users:read"),
    "views.open": (open_view, ""),
}
