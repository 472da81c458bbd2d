// Receive Clawback's events with Node and nothing else: node node_receiver.mjs
import { createHmac, timingSafeEqual } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";

const KEY = Buffer.from(process.env.CLAWBACK_SECRET.replace("whsec_", ""), "base64");
if (KEY.length < 24) throw new Error("the secret is whsec_ and the base64 of 24 bytes or more");
const FILE = process.env.DATABASE ?? "access.json"; // a database of yours in its place: both maps in one transaction
const state = existsSync(FILE) ? JSON.parse(readFileSync(FILE, "utf8")) : { seen: {}, access: {} };

function genuine(headers, body) { // signed with our secret, within five minutes
  const [id, stamp, given] = ["id", "timestamp", "signature"].map((name) => headers[`webhook-${name}`] ?? "");
  if (!/^\d{1,12}$/.test(stamp) || Math.abs(Date.now() / 1000 - Number(stamp)) >= 300) return false;
  const ours = createHmac("sha256", KEY).update(`${id}.${stamp}.`).update(body).digest("base64");
  const own = Buffer.from(`v1,${ours}`);
  const fits = (one) => one.length === own.length && timingSafeEqual(own, one);
  return given.split(" ").some((one) => fits(Buffer.from(one)));
}

function take(event) { // remembered and done by one rename; a failure ends the process, nothing is half done
  if (event.id in state.seen) return;
  state.seen[event.id] = true;
  const held = event.data.entitlement;
  const name = held && JSON.stringify([held.user_id, held.key]);
  if (held && event.sequence > (state.access[name]?.sequence ?? 0))
    state.access[name] = { active: held.active, sequence: event.sequence }; // the newest wins, in any order
  writeFileSync(`${FILE}.new`, JSON.stringify(state), { flush: true });
  renameSync(`${FILE}.new`, FILE);
}

createServer(async (request, response) => {
  const small = Number(request.headers["content-length"]) < 100_000;
  const body = Buffer.concat(small ? await request.toArray().catch(() => []) : []); // the raw bytes
  const taken = request.method === "POST" && genuine(request.headers, body);
  if (taken) take(JSON.parse(body));
  response.writeHead(taken ? 204 : 401).end();
}).listen(Number(process.env.PORT ?? 8090), "127.0.0.1");
