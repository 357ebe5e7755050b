// The instance metadata service (version 2 alone) of every instance of a cloud, told apart by the address that asks, as
// on EC2. Runs in the cloud's network namespace. Standard input: a line of JSON for each change, { address, values },
// values by path below /latest/, null for an instance that is gone.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

const instances = new Map();
const tokens = new Set();

createServer((request, response) => {
  const answer = (status, body = "") =>
    response.writeHead(status, { "content-type": "text/plain" }).end(body);
  const values = instances.get(request.socket.remoteAddress);
  const path = new URL(request.url, "http://imds").pathname.replace(/^\/latest\//, "");
  if (!values) return answer(404);
  if (request.method === "PUT" && path === "api/token") {
    if (!request.headers["x-aws-ec2-metadata-token-ttl-seconds"]) return answer(400);
    const token = randomUUID();
    tokens.add(token);
    return answer(200, token);
  }
  if (request.method !== "GET") return answer(405);
  if (!tokens.has(request.headers["x-aws-ec2-metadata-token"])) return answer(401);
  const value = values[decodeURIComponent(path)];
  return value === undefined ? answer(404) : answer(200, value);
}).listen(80, "169.254.169.254", () => process.stdout.write("ready\n"));

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { address, values } = JSON.parse(line);
    if (values === null) instances.delete(address);
    else instances.set(address, values);
    process.stdout.write(`${address}\n`);
  })
  .on("close", () => process.exit(0));
