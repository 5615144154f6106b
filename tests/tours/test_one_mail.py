"""The walk of one mail, from a wallet that nobody knows to a released address, over HTTP and SMTP."""

import asyncio
from email.message import EmailMessage
from email.policy import SMTP

from tests import kit_mail
from tests.kit import House
from tests.kit_mail import messages_of


def sign_up_mail(address: str) -> bytes:
    """What a shop sends to whoever signs up."""
    letter = EmailMessage()
    letter["From"] = "Kettle Shop <no-reply@kettles.example>"
    letter["To"] = address
    letter["Subject"] = "Welcome to Kettle Shop"
    letter["Message-ID"] = "<welcome-1@kettles.example>"
    letter.set_content("Hello,\n\nYour verification code is 739204. It is valid for ten minutes.\n")
    letter.add_alternative(
        "<p>Hello,</p><p>Your verification code is <b>739204</b>.</p>"
        '<p><a href="https://kettles.example/verify?token=q8Zr11PdLw0">Verify your address</a></p>'
        '<p><a href="https://kettles.example/unsubscribe">Unsubscribe</a></p>',
        subtype="html",
    )
    return letter.as_bytes(policy=SMTP)


async def test_an_agent_leases_an_address_and_reads_the_code_that_arrives(house: House) -> None:
    async with kit_mail.receiving(house) as post:
        # A wallet signs in: tenant and agent are made with its first signature.
        agent = await house.agent()
        # It leases an address for an hour.
        lease = await agent.lease(purpose="sign up at Kettle Shop")
        assert lease["lease_status"] == "active"
        # It waits for a code, and the shop's mail comes in over SMTP.
        question = {"mailbox_id": lease["mailbox_id"], "has": "otp", "timeout_s": 30}
        waiting = asyncio.create_task(agent.http.get("/v2/messages/wait", params=question))
        await kit_mail.heeded(house, lease["mailbox_id"])
        raw = sign_up_mail(lease["address"])
        reply = await post.send(raw, lease["address"])
        assert reply.startswith("250 2.0.0")
        # The answer holds the code and the link.
        answer = await waiting
        assert answer.status_code == 200
        message = answer.json()
        assert reply.endswith(message["message_id"])
        assert (message["otp_code"], message["parsed_status"]) == ("739204", "parsed")
        assert message["verification_link"] == "https://kettles.example/verify?token=q8Zr11PdLw0"
        assert (message["sender_domain"], message["subject"]) == ("kettles.example", "Welcome to Kettle Shop")
        # The whole mail says where they stood; the raw one is what the shop sent.
        whole = (await agent.http.get(f"/v2/messages/{message['message_id']}")).json()
        assert "739204" in whole["extraction"]["codes"][0]["evidence"]
        assert (await agent.http.get(message["raw_ref"])).content.endswith(raw)
        # It is done: the address takes no more mail, and what came stays readable for the retention.
        released = await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/release")
        assert (released.status_code, released.json()["lease_status"]) == (202, "released")
        assert (await post.send(raw, lease["address"])).startswith("550 5.2.1")
        assert [each["message_id"] for each in await messages_of(agent)] == [message["message_id"]]
        house.clock.advance(hours=73)
        agent = await house.agent(agent.wallet)
        assert await messages_of(agent) == []
