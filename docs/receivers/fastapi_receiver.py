# Receive Clawback's events with FastAPI: uvicorn fastapi_receiver:app --port 8090
import base64, hmac, json, os, sqlite3, time
from fastapi import FastAPI, Request, Response

KEY = base64.b64decode(os.environ["CLAWBACK_SECRET"].removeprefix("whsec_"))
assert len(KEY) >= 24, "the secret is whsec_ and the base64 of 24 bytes or more"
database = sqlite3.connect(os.environ.get("DATABASE", "access.db"), check_same_thread=False)
database.execute("create table if not exists seen (id primary key)")
database.execute("create table if not exists access (user, key, active, seq, primary key (user, key))")
app = FastAPI()


def genuine(headers, body):  # signed with our secret, within five minutes
    id, stamp, given = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    fresh = len(stamp) < 13 and stamp.isascii() and stamp.isdigit() and abs(time.time() - int(stamp)) < 300
    signed = f"{id}.{stamp}.".encode() + body
    ours = b"v1," + base64.b64encode(hmac.digest(KEY, signed, "sha256"))
    return fresh and any(hmac.compare_digest(ours, one) for one in given.encode().split())


def act(event):  # the event has the whole state, so the newest one wins, in whatever order they come
    if held := event["data"]["entitlement"]:
        row = (held["user_id"], held["key"], held["active"], event["sequence"])
        sql = "insert into access values (?1,?2,?3,?4) on conflict do update set active=?3, seq=?4 where seq<?4"
        database.execute(sql, row)


@app.post("/events")
async def receive(request: Request) -> Response:
    body = await request.body()  # the raw bytes: a model that was read and written again is signed no more
    if not genuine(request.headers, body):
        return Response(status_code=401)
    with database:  # one transaction: remembered and done, or neither
        if database.execute("insert or ignore into seen values (?)", [request.headers["webhook-id"]]).rowcount:
            act(json.loads(body))
    return Response(status_code=204)
