import asyncio, json
from tests.kit import *
async def test_probe(house):
    a = await house.agent()
    print()
    for q in ("0001-01-01T00:00:00+14:00","9999-12-31T23:59:59-14:00","0001-01-01T00:00:00Z"):
        r = await a.http.get("/v2/messages", params={"since": q}); print("P", q, r.status_code, r.text[:200])
        r = await a.http.post("/v2/api-keys", json={"name":"x","scopes":["mail:read"],"expires_at":q}); print("P key", q, r.status_code, r.text[:300])
    for depth in (200, 500, 900,1500, 4000):
        body = '{"agent_id":"%s","purpose":"x","ttl_hours":1,"metadata":{"a":%s}}' % (a.agent_id, "["*depth+"]"*depth)
        r = await a.http.post("/v2/mailboxes/leases", content=body, headers={"content-type":"application/json"}); print("P", depth, r.status_code, r.text[:100])
