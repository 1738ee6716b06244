"""``kill -9`` between the commit that writes a message and the record that it was taken: it is sent after the restart."""

from rhapsode.jobs.webhooks import SCHEDULE_S
from tests.faults.conftest import MakeServer
from tests.receiver import receiving, status


async def test_a_message_outlives_the_server(make_server: MakeServer) -> None:
    server = make_server(changes={"webhooks": {"allow_private": True}})
    await server.start()
    async with receiving(lambda _: None) as receiver:
        async with server.client() as client:
            body = {"text": "One short sentence.", "webhook_url": receiver.url}
            answer = await client.http.post("/tts/enqueue", json=body)
            assert answer.status_code == 202
        await receiver.until(1)  # it has come, but the server will never know
        await server.kill()
        receiver.answer = lambda _: status(204)
        await server.start()
        await receiver.until(2, timeout_s=SCHEDULE_S[0] + 25)
        first, second = receiver.got[:2]
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body
