"""Sending, answering and passing on over HTTP: mail between leased mailboxes, into the queue, and every refusal."""

import asyncio
import base64
from datetime import timedelta
from pathlib import Path

import pytest

from leasebox.sending.http import BODY_CAP
from leasebox.values.clock import rfc3339
from tests.billing.shop import book, books_agree, proof, shop_settings
from tests.claiming import claimed
from tests.fakes.clock import FakeClock
from tests.kit import House, opened
from tests.kit_mail import Post, change, mail, rows, shared_house, shared_post, statuses, value
from tests.sending.writing_desk import ELSEWHERE, Writer, facts, kept_contents, states, taken

__all__ = ["shared_house", "shared_post"]
FILE = {
    "filename": "Rechnung März.csv",
    "content_type": "text/csv; charset=utf-8",
    "content_base64": base64.b64encode("a;ü\n".encode()).decode(),
}


@pytest.fixture
async def ann(shared_house: House) -> Writer:
    return await Writer.new(shared_house)


@pytest.fixture
async def bob(shared_house: House) -> Writer:
    return await Writer.new(shared_house)


class TestWithinTheHouse:
    async def test_a_message_is_in_the_other_mailbox_at_once(self, shared_post: Post, ann: Writer, bob: Writer) -> None:
        told = await ann.send(f"Bob <{bob.address}>", subject="Grüße", attachments=[FILE], html="<p>Hello there.</p>")
        assert (told["submission_status"], told["accepted"], told["rejected"]) == ("sent", [bob.address], [])
        await shared_post.parsed()
        (got,) = await bob.messages()
        assert (got["subject"], got["sender"], got["direction"]) == ("Grüße", ann.address, "inbound")
        assert got["to"] == [{"name": "Bob", "address": bob.address}]
        assert got["auth"] == {"spf": "pass", "dkim": "pass", "dmarc": "pass"}
        whole = await bob.message(got["message_id"])
        assert (whole["text"], whole["html"].strip()) == ("Hello there.", "<p>Hello there.</p>")
        (file,) = whole["attachments"]
        assert (file["filename"], file["content_type"]) == (FILE["filename"], "text/csv")
        path = f"/v2/messages/{got['message_id']}/attachments/{file['attachment_id']}"
        assert (await bob.http.get(path)).content == "a;ü\n".encode()

    async def test_its_author_keeps_what_was_sent(self, shared_post: Post, ann: Writer, bob: Writer) -> None:
        told = await ann.send(bob.address)
        (own,) = await ann.messages()
        assert (own["message_id"], own["thread_id"]) == (told["message_id"], told["thread_id"])
        assert (own["direction"], own["labels"], own["sender"]) == ("outbound", ["sent"], ann.address)
        await shared_post.parsed()
        raw = (await ann.http.get(own["raw_ref"])).content
        received = (await bob.http.get((await bob.messages())[0]["raw_ref"])).content
        assert received.endswith(raw)
        trace = received[: -len(raw)].decode()
        assert trace.startswith(f"Return-Path: <{ann.address}>\r\nReceived: by ") and " with LOCAL id snd_" in trace
        assert (await ann.account())["lease"]["used_bytes"] == len(raw) == own["size_bytes"]
        assert (await ann.messages(direction="inbound")) == []

    async def test_a_mail_to_oneself_is_there_twice(self, shared_post: Post, ann: Writer) -> None:
        told = await ann.send([ann.address, ann.address.replace("@", "+tag@")])
        assert states(await ann.attempt(told)) == dict.fromkeys(told["accepted"], "delivered")
        await shared_post.parsed()
        assert sorted(each["direction"] for each in await ann.messages()) == ["inbound", "outbound"]

    async def test_a_blind_copy_is_in_no_header(self, shared_post: Post, ann: Writer, bob: Writer) -> None:
        carl = await Writer.new(ann.house)
        told = await ann.send(bob.address, bcc=carl.address)
        assert told["accepted"] == [bob.address, carl.address]
        await shared_post.parsed()
        for reader in (ann, bob, carl):
            (got,) = await reader.messages()
            assert carl.address not in (await reader.http.get(got["raw_ref"])).text
            assert got["to"] == [{"name": "", "address": bob.address}]

    async def test_whoever_waits_gets_the_answer_not_the_question(
        self, shared_post: Post, ann: Writer, bob: Writer
    ) -> None:
        told = await ann.send(bob.address)
        await shared_post.parsed()
        waiting = asyncio.create_task(
            ann.http.get("/v2/messages/wait", params={"mailbox_id": ann.box, "since": "2020-01-01T00:00:00Z"})
        )
        (got,) = await bob.messages()
        taken(await bob.verb("reply", got["message_id"], text="Yes."))
        found = (await waiting).json()
        assert (found["direction"], found["subject"]) == ("inbound", "Re: Hello")
        assert found["thread_id"] == told["thread_id"]

    async def test_recipients_who_are_gone_are_rejected_and_cost_nothing(
        self, shared_post: Post, ann: Writer, bob: Writer
    ) -> None:
        await bob.pause("release")
        frozen, nobody = await Writer.new(ann.house), "nobody-at-all@inbox.leasebox.test"
        await change(ann.house, "UPDATE leases SET frozen_at = now() WHERE mailbox_id = $1", frozen.mailbox_id)
        told = await ann.send([bob.address, frozen.address, nobody, ELSEWHERE])
        assert told["accepted"] == [ELSEWHERE]
        assert [(each["address"], each["reason"]) for each in told["rejected"]] == [
            (bob.address, "mailbox_ended"),
            (frozen.address, "mailbox_frozen"),
            (nobody, "unknown_mailbox"),
        ]
        assert (await ann.account())["sends_today"] == 1
        refused = await ann.ask([bob.address, nobody])
        assert (refused.status_code, len(refused.json()["rejected"])) == (422, 2)
        assert len(await ann.messages()) == 1

    async def test_a_paused_recipient_is_tried_later(self, shared_post: Post, ann: Writer, bob: Writer) -> None:
        await bob.pause()
        told = await ann.send(bob.address)
        assert (told["submission_status"], told["accepted"]) == ("deferred", [bob.address])
        view = await ann.attempt(told)
        (recipient,), (hop,) = view["recipients"], view["hops"]
        assert (recipient["state"], recipient["reply_code"]) == ("deferred", 450)
        assert (hop["route"], hop["state"], hop["destination"]) == ("local", "waiting", "inbox.leasebox.test")
        assert await kept_contents(ann.house, told) == 1
        assert await facts(ann.house, ann.tenant_id) == []

    async def test_all_may_write_to_all_at_once(self, shared_post: Post) -> None:
        writers = [await Writer.new(shared_post.house) for _ in range(5)]
        everybody = [each.address for each in writers]
        answers = await asyncio.gather(*(each.ask(everybody) for each in writers for _ in range(4)))
        assert {answer.status_code for answer in answers} == {202}
        await shared_post.parsed()
        for each in writers:
            assert len(await each.messages(direction="inbound")) == 20
            uids = await rows(each.house, "SELECT uid, seq FROM messages WHERE mailbox_id = $1", each.mailbox_id)
            assert sorted(row["uid"] for row in uids) == sorted(row["seq"] for row in uids) == list(range(1, 25))


class TestThreads:
    async def test_answers_stay_in_one_thread_on_both_sides(self, shared_post: Post, ann: Writer, bob: Writer) -> None:
        first = await ann.send(bob.address, subject="Lunch")
        await shared_post.parsed()
        (got,) = await bob.messages()
        second = taken(await bob.verb("reply", got["message_id"], text="Where?"))
        await shared_post.parsed()
        answer = (await ann.messages(direction="inbound"))[0]
        third = taken(await ann.verb("reply", answer["message_id"], text="Here."))
        await shared_post.parsed()
        assert {each["thread_id"] for each in await ann.messages()} == {first["thread_id"], third["thread_id"]}
        assert first["thread_id"] == third["thread_id"]
        assert {each["thread_id"] for each in await bob.messages()} == {second["thread_id"]}
        assert [each["subject"] for each in await bob.messages()] == ["Re: Lunch", "Re: Lunch", "Lunch"]
        last = await bob.message((await bob.messages())[0]["message_id"])
        fields = {each["name"]: each["value"] for each in last["headers"]}
        sent = [(await ann.attempt(each))["header_message_id"] for each in (first,)]
        sent += [(await bob.attempt(second))["header_message_id"]]
        assert (fields["References"], fields["In-Reply-To"]) == (" ".join(sent), sent[1])
        assert (
            last["text"].startswith("Here.\n\nOn ") and "> Where?" in last["text"] and ">> Hello there." in last["text"]
        )

    async def test_in_reply_to_names_a_message_of_ours_or_any_other(
        self, shared_post: Post, ann: Writer, bob: Writer
    ) -> None:
        first = await ann.send(bob.address)
        second = await ann.send(bob.address, in_reply_to=first["message_id"])
        assert second["thread_id"] == first["thread_id"]
        other = await ann.send(bob.address, in_reply_to="<abc@shop.example>", subject="Other")
        shown = await ann.message(other["message_id"])
        fields = {each["name"]: each["value"] for each in shown["headers"]}
        assert fields["In-Reply-To"] == fields["References"] == "<abc@shop.example>"
        assert (await ann.ask(in_reply_to="msg_01jc7rbt4zfz8v4q5d6g7h8j9k")).status_code == 404
        assert (await ann.ask(in_reply_to="rubbish")).status_code == 422
        await shared_post.parsed()

    async def test_what_has_no_id_of_its_own_is_answered_without_in_reply_to(
        self, shared_post: Post, ann: Writer
    ) -> None:
        (got,) = await shared_post.deliver(
            mail(references="<g1@shop.example> <g2@shop.example>", message_id="<abc.def>"), ann.address
        )
        told = [taken(await ann.verb("reply", got, text="Yes.")), await ann.send(in_reply_to=got)]
        for each in told:
            shown = await ann.message(each["message_id"])
            fields = {field["name"]: field["value"] for field in shown["headers"]}
            assert fields["References"].split() == ["<g1@shop.example>", "<g2@shop.example>"]
            assert "In-Reply-To" not in fields

    async def test_a_mail_without_a_sender_to_answer_says_what_to_do_instead(
        self, shared_post: Post, ann: Writer
    ) -> None:
        (got,) = await shared_post.deliver(mail(From="undisclosed"), ann.address)
        refused = await ann.verb("reply", got, text="Yes.")
        told = refused.json()
        assert (refused.status_code, "errors" in told, "/v2/messages/send" in told["fix"]) == (422, False, True)

    async def test_a_reply_to_all_answers_all_but_oneself(self, shared_post: Post, ann: Writer, bob: Writer) -> None:
        carl = await Writer.new(ann.house)
        await ann.send([bob.address, carl.address], cc=ELSEWHERE)
        await shared_post.parsed()
        (got,) = await bob.messages()
        told = taken(await bob.verb("reply-all", got["message_id"], text="Fine."))
        assert told["accepted"] == [ann.address, carl.address, ELSEWHERE]
        alone = taken(await bob.verb("reply", got["message_id"], text="Just you."))
        assert alone["accepted"] == [ann.address]
        own = (await ann.messages(direction="outbound"))[0]
        again = taken(await ann.verb("reply", own["message_id"], text="One more thing."))
        assert again["accepted"] == [bob.address, carl.address]
        await shared_post.parsed()

    async def test_a_forward_takes_the_attachments_along(self, shared_post: Post, ann: Writer, bob: Writer) -> None:
        carl = await Writer.new(ann.house)
        await ann.send(bob.address, subject="Invoice", attachments=[FILE], html="<p>See it.</p>")
        await shared_post.parsed()
        (got,) = await bob.messages()
        added = {**FILE, "filename": "note.txt", "content_type": "text/plain"}
        taken(await bob.verb("forward", got["message_id"], to=carl.address, text="FYI", attachments=[added]))
        await shared_post.parsed()
        (found,) = await carl.messages()
        whole = await carl.message(found["message_id"])
        assert (whole["subject"], [each["filename"] for each in whole["attachments"]]) == (
            "Fwd: Invoice",
            ["note.txt", FILE["filename"]],
        )
        assert whole["text"].startswith("FYI\n\n---------- Forwarded message ----------\n")
        assert "<p>See it.</p>" in whole["html"]
        assert (await bob.verb("forward", got["message_id"], text="to nobody")).status_code == 422


class TestRefusals:
    async def test_all_faults_are_told_together(self, ann: Writer) -> None:
        answer = await ann.ask(["x", ELSEWHERE], cc="y", subject="a\nb", headers={"From": "me@shop.example"})
        assert answer.status_code == 422
        assert {each["path"] for each in answer.json()["errors"]} == {
            *("body.to[0]", "body.cc", "body.subject", "body.headers.From")
        }

    async def test_what_is_no_such_request_is_400(self, ann: Writer) -> None:
        answer = await ann.ask(to=5, text=["x"], surprise=1)
        assert answer.status_code == 400
        assert {each["path"] for each in answer.json()["errors"]} == {"body.to", "body.text", "body.surprise"}
        answer = await ann.ask(attachments=[{**FILE, "content_base64": "no base64!"}])
        assert answer.status_code == 400

    async def test_mailboxes_that_are_not_there_or_not_ours(self, ann: Writer, bob: Writer) -> None:
        for wrong in (bob.box, "mbx_01jc7rbt4zfz8v4q5d6g7h8j9k", "rubbish"):
            assert (await ann.ask(mailbox_id=wrong)).status_code == 404
        for verb in ("reply", "reply-all", "forward"):
            own = (await bob.send())["message_id"]
            assert (await ann.verb(verb, own, text="x")).status_code == 404
            assert (await ann.verb(verb, "rubbish", text="x")).status_code == 404

    async def test_a_paused_a_frozen_and_an_ended_lease_send_nothing(self, ann: Writer) -> None:
        own = (await ann.send())["message_id"]
        await ann.pause()
        for answer in (await ann.ask(), await ann.verb("reply", own, text="x")):
            assert (answer.status_code, answer.json()["error"]) == (403, "mailbox_paused")
        await ann.pause("resume")
        await change(ann.house, "UPDATE leases SET frozen_at = now() WHERE mailbox_id = $1", ann.mailbox_id)
        assert (await ann.ask()).json()["error"] == "mailbox_frozen"
        await change(ann.house, "UPDATE leases SET frozen_at = NULL WHERE mailbox_id = $1", ann.mailbox_id)
        await ann.pause("release")
        for answer in (await ann.ask(), await ann.verb("reply", own, text="x")):
            assert (answer.status_code, answer.json()["error"]) == (410, "lease_ended")

    async def test_the_password_stands_in_for_the_scope(self, ann: Writer, bob: Writer) -> None:
        key = (await ann.http.post("/v2/api-keys", json={"name": "reads", "scopes": ["mail:read"]})).json()["api_key"]
        async with ann.house.client({"authorization": f"Bearer {key}"}) as http:
            reader = Writer(ann.house, http, ann.lease)
            refused = await reader.ask()
            assert (refused.status_code, refused.json()["error"], refused.json()["scope"]) == (
                *(403, "missing_scope"),
                "mail:send",
            )
            own = (await reader.send(mailbox_password=ann.lease["webmail_password"]))["message_id"]
            assert (await reader.verb("reply", own, text="x")).status_code == 403
            taken(await reader.verb("reply", own, text="x", mailbox_password=ann.lease["webmail_password"]))
            for wrong in ("", "wrong", bob.lease["webmail_password"]):
                answer = await reader.ask(mailbox_password=wrong)
                assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
        assert (await ann.ask(mailbox_password="wrong")).status_code == 403

    async def test_after_a_reset_the_old_password_sends_nothing(self, ann: Writer) -> None:
        reset = await ann.http.post(f"/v2/mailboxes/accounts/{ann.box}/credentials/reset")
        assert (await ann.ask(mailbox_password=ann.lease["webmail_password"])).status_code == 403
        await ann.send(mailbox_password=reset.json()["webmail_password"])

    async def test_a_key_for_other_mailboxes_does_not_find_this_one(self, ann: Writer) -> None:
        other = await ann.agent.lease()
        order = {"name": "one", "scopes": ["mail:read", "mail:send"], "mailbox_ids": [other["mailbox_id"]]}
        key = (await ann.http.post("/v2/api-keys", json=order)).json()["api_key"]
        own = (await ann.send())["message_id"]
        async with ann.house.client({"authorization": f"Bearer {key}"}) as http:
            limited = Writer(ann.house, http, ann.lease)
            assert (await limited.ask()).status_code == 404
            assert (await limited.ask(mailbox_password=ann.lease["webmail_password"])).status_code == 404
            assert (await limited.verb("reply", own, text="x")).status_code == 404
            await Writer(ann.house, http, other).send()
            assert (await limited.ask(mailbox_id=other["mailbox_id"], in_reply_to=own)).status_code == 404

    async def test_more_than_fits(self, ann: Writer) -> None:
        big = base64.b64encode(bytes(13 * 1024 * 1024)).decode()
        files = [{**FILE, "content_base64": big}, {**FILE, "content_base64": big}]
        answer = await ann.ask(attachments=files)
        assert (answer.status_code, answer.json()["error"]) == (413, "too_large")
        endless = b'{"mailbox_id": "' + b"x" * BODY_CAP + b'"}'
        answer = await ann.http.post("/v2/messages/send", content=endless, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        elsewhere = await ann.http.post(
            "/v2/agents", content=endless[: 1024 * 1024 + 1], headers={"content-type": "application/json"}
        )
        assert elsewhere.status_code == 413, "the other routes keep their own cap"

    async def test_25_mib_of_attachments_fit(self, shared_post: Post, ann: Writer, bob: Writer) -> None:
        content = bytes(range(256)) * (25 * 1024 * 4)
        told = await ann.send(bob.address, attachments=[{**FILE, "content_base64": base64.b64encode(content).decode()}])
        assert (await ann.message(told["message_id"]))["attachments"][0]["size_bytes"] == len(content)
        await shared_post.parsed()
        (got,) = await bob.messages()
        (file,) = (await bob.message(got["message_id"]))["attachments"]
        path = f"/v2/messages/{got['message_id']}/attachments/{file['attachment_id']}"
        assert (await bob.http.get(path)).content == content

    async def test_a_full_mailbox_sends_nothing(self, ann: Writer) -> None:
        quota = ann.house.settings.lease_quota_mib * 1024 * 1024
        await change(ann.house, "UPDATE leases SET used_bytes = $2 WHERE mailbox_id = $1", ann.mailbox_id, quota - 100)
        answer = await ann.ask()
        assert (answer.status_code, answer.json()["error"]) == (422, "unprocessable")
        assert "room" in answer.json()["message"]
        assert (await ann.account())["sends_today"] == 0


class TestOnce:
    async def test_the_same_request_is_answered_as_the_first_time(self, ann: Writer, bob: Writer) -> None:
        key = {"idempotency-key": "one"}
        first = await ann.ask(bob.address, http_headers=key)
        again = await ann.ask(bob.address, http_headers=key)
        assert (again.status_code, again.json()) == (202, first.json())
        assert again.headers["idempotent-replayed"] == "true"
        assert (await ann.ask(ELSEWHERE, http_headers=key)).json()["error"] == "idempotency_mismatch"
        assert len(await ann.messages()) == 1
        assert (await ann.account())["total_sent"] == 1

    async def test_it_stands_even_where_the_message_could_not_be_sent_now(self, ann: Writer) -> None:
        key, soon = {"idempotency-key": "two"}, rfc3339(ann.house.clock.now() + timedelta(seconds=2))
        first = await ann.ask(http_headers=key, send_at=soon)
        ann.house.clock.advance(seconds=3)
        assert (await ann.ask(http_headers=key, send_at=soon)).json() == taken(first)
        await ann.http.delete(f"/v2/messages/{first.json()['message_id']}")
        await ann.pause("release")
        assert (await ann.ask(http_headers=key, send_at=soon)).json() == first.json()

    async def test_of_many_at_once_one_is_sent(self, ann: Writer) -> None:
        answers = await asyncio.gather(*(ann.ask(http_headers={"idempotency-key": "race"}) for _ in range(8)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["send_attempt_id"] for answer in answers}) == 1
        assert len(await ann.messages()) == 1


class TestLimits:
    async def test_the_tenth_recipient_of_a_tenant_without_a_wallet(self, shared_house: House) -> None:
        view, http = await claimed(shared_house, "sender")
        async with http:
            writer = Writer(shared_house, http, view)
            assert (await writer.ask([f"p{number}@a.example" for number in range(11)])).status_code == 429
            await writer.send([f"p{number}@a.example" for number in range(6)])
            codes = await statuses([writer.ask(f"q{number}@a.example") for number in range(10)])
            assert codes == [202] * 4 + [429] * 6
            refused = await writer.ask()
            assert refused.json()["error"] == "cooldown_limit"
            assert (refused.json()["limit"], refused.json()["action"]) == (10, "bind_wallet")
            assert int(refused.headers["retry-after"]) > 86_000
            assert (await writer.account())["sends_today"] == 10
            assert len(await writer.messages()) == 5

    async def test_a_day_has_a_limit(self, ann: Writer) -> None:
        limit = "INSERT INTO mailbox_sends VALUES ($1, $2, 5, ($3::timestamptz AT TIME ZONE 'UTC')::date, 0, 0, 0, 0)"
        await change(ann.house, limit, ann.mailbox_id, ann.tenant_id, ann.house.clock.now())
        assert (await ann.account())["daily_send_limit"] == 5
        alone = await ann.ask([f"p{number}@a.example" for number in range(6)])
        assert (alone.status_code, alone.json()["reason"], alone.json()["retry_at"]) == (429, "daily_send_limit", None)
        assert alone.json()["fix"] == "Send to at most 5 at once, or from another mailbox."
        codes = await statuses([ann.ask([f"{n}@a.example", f"{n}@b.example"]) for n in range(8)])
        assert codes == [202] * 2 + [429] * 6
        refused = await ann.ask(["x@a.example", "y@a.example"])
        now, midnight = ann.house.clock.now(), refused.json()["retry_at"]
        assert midnight == rfc3339((now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0))
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
        await ann.send("x@a.example")
        told = await ann.account()
        assert (told["sends_today"], told["total_sent"]) == (5, 5)

    async def test_where_nothing_may_be_sent_nobody_is_told_to_wait(self, ann: Writer) -> None:
        limit = "INSERT INTO mailbox_sends VALUES ($1, $2, 0, ($3::timestamptz AT TIME ZONE 'UTC')::date, 0, 0, 0, 0)"
        await change(ann.house, limit, ann.mailbox_id, ann.tenant_id, ann.house.clock.now())
        told = (await ann.ask()).json()
        assert (told["retry_at"], told["fix"]) == (None, "Send from another mailbox.")

    async def test_a_new_day_begins_at_midnight(self, house: House) -> None:
        ann = await Writer.new(house, ttl_hours=72)
        await ann.send()
        house.clock.advance(hours=24)
        async with house.client() as http:
            renewed = await house.agent(ann.agent.wallet)
            del http
        writer = Writer(house, renewed.http, ann.lease)
        assert (await writer.account())["sends_today"] == 0
        await writer.send()
        told = await writer.account()
        assert (told["sends_today"], told["total_sent"]) == (1, 2)

    async def test_what_a_tenant_suppressed_gets_nothing(self, ann: Writer, bob: Writer) -> None:
        await ann.http.post("/v2/suppressions", json={"address": "Ann@Elsewhere.Example"})
        refused = await ann.ask()
        assert (refused.status_code, refused.json()["rejected"][0]["reason"]) == (422, "suppressed")
        told = await ann.send([ELSEWHERE, "other@elsewhere.example"])
        assert (told["accepted"], [each["reason"] for each in told["rejected"]]) == (
            ["other@elsewhere.example"],
            ["suppressed"],
        )
        assert (await bob.send())["rejected"] == [], "another tenant's list is its own"

    async def test_denied_domains_get_nothing(self, house: House) -> None:
        ann = await Writer.new(house)
        await change(house, "INSERT INTO denied_domains VALUES ('recipient', 'spam.example', '', 'test', now())")
        told = await ann.send([ELSEWHERE, "x@mx.spam.example"])
        assert [(each["address"], each["reason"]) for each in told["rejected"]] == [
            ("x@mx.spam.example", "denied_domain")
        ]


class TestPaying:
    async def test_each_recipient_counts_and_a_proof_pays_for_a_reply(
        self, database_url: str, redis_url: str, tmp_path: Path
    ) -> None:
        settings = shop_settings(tmp_path, database_url, redis_url, book(message_send=(3, "day", "0.001000")))
        async with opened(settings, FakeClock()) as house:
            ann = await Writer.new(house)
            await ann.http.post("/v2/suppressions", json={"address": "gone@a.example"})
            own = (await ann.send([ELSEWHERE, "b@a.example", "gone@a.example"]))["message_id"]
            refused = await ann.verb("reply-all", own, text="x")
            assert (refused.status_code, refused.json()["amount_usdc"]) == (402, "0.001000")
            path = f"/v2/messages/{own}/reply-all"
            assert refused.json()["accepts"][0]["request"]["body"] == {"method": "POST", "path": path}
            header = {"x-payment-proof": await proof(ann.agent, path, quantity=2)}
            wrong = await ann.http.post(f"/v2/messages/{own}/reply", json={"text": "x"}, headers=header)
            assert (wrong.status_code, wrong.json()["reason"]) == (402, "wrong_path")
            taken(await ann.http.post(path, json={"text": "x"}, headers=header))
            again = await ann.http.post(path, json={"text": "x"}, headers=header)
            assert (again.status_code, again.json()["reason"]) == (402, "replayed")
            assert (await ann.account())["total_sent"] == 4
            await books_agree(house)

    async def test_what_is_refused_costs_nothing(self, ann: Writer) -> None:
        before = await value(ann.house, "SELECT count(*) FROM usage_events WHERE meter = 'message.send'")
        assert (await ann.ask("nobody-here-at-all@inbox.leasebox.test")).status_code == 422
        assert (await ann.ask("rubbish")).status_code == 422
        after = await value(ann.house, "SELECT count(*) FROM usage_events WHERE meter = 'message.send'")
        assert before == after
        await ann.send([ELSEWHERE, "b@a.example", "nobody-here-at-all@inbox.leasebox.test"])
        (event,) = await rows(
            ann.house,
            "SELECT path, free_quantity, paid_quantity FROM usage_events WHERE tenant_id = $1 AND meter = $2",
            ann.tenant_id,
            "message.send",
        )
        assert dict(event) == {"path": "/v2/messages/send", "free_quantity": 2, "paid_quantity": 0}
