/**
 * AWS for tests: moto's server behind a proxy of ours, which keeps every request and can answer chosen actions itself,
 * for what moto never says.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createServer, request } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { pipTools } from "./pip-tools.ts";

/** What a test answers instead of moto; `undefined` lets the request through. */
export type Answer = (
  action: string,
  parameters: URLSearchParams,
) => { status: number; body: string } | undefined;

export interface SentRequest {
  /** `CreateFleet`. */
  action: string;
  /** The parameters as they were sent, for EC2, IAM and STS. */
  parameters: URLSearchParams;
}

/** An error as EC2 says it. */
export function ec2Error(code: string, message: string, status = 400): { status: number; body: string } {
  return {
    status,
    body: `<?xml version="1.0"?><Response><Errors><Error><Code>${code}</Code><Message>${message}</Message></Error></Errors><RequestID>test</RequestID></Response>`,
  };
}

/** A fleet's answer with nothing in it but a reason. */
export function emptyFleet(code: string, message: string): { status: number; body: string } {
  return {
    status: 200,
    body: `<CreateFleetResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>test</requestId><fleetId>fleet-0</fleetId><errorSet><item><errorCode>${code}</errorCode><errorMessage>${message}</errorMessage><lifecycle>on-demand</lifecycle></item></errorSet><fleetInstanceSet/></CreateFleetResponse>`,
  };
}

function regionsOf(names: readonly string[]): { status: number; body: string } {
  const items = names.map((name) => `<item><regionName>${name}</regionName></item>`).join("");
  return {
    status: 200,
    body: `<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><regionInfo>${items}</regionInfo></DescribeRegionsResponse>`,
  };
}

/** What moto answers with an error of its own, where AWS would say that there is none. */
const NEVER_THERE: Readonly<Record<string, { status: number; body: string }>> = {
  DescribePlacementGroups: {
    status: 200,
    body: `<DescribePlacementGroupsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><placementGroupSet/></DescribePlacementGroupsResponse>`,
  },
};

export class Moto implements AsyncDisposable {
  readonly sent: SentRequest[] = [];
  answer: Answer | undefined;
  /** Those that DescribeRegions tells of; all that moto knows when absent. To ask in each of them takes seconds. */
  regions: readonly string[] | undefined;
  /** Told of every action that moto has answered, before the answer goes on. */
  onAnswered: ((action: string) => void) | undefined;
  /** Past the proxy: nothing that is asked here is kept or answered otherwise. */
  readonly directUrl: string;
  private readonly server: ChildProcess;
  private readonly proxy: Server;
  private readonly host: string;

  private constructor(server: ChildProcess, proxy: Server, { host, port }: { host: string; port: number }) {
    this.server = server;
    this.proxy = proxy;
    this.host = host;
    this.directUrl = `http://127.0.0.1:${port}`;
  }

  /**
   * @param options.host address of the proxy
   * @param options.onProcess told of moto's process before anything depends on it, so that a killed test leaves none
   */
  static async start({
    host = "127.0.0.1",
    onProcess,
  }: { host?: string; onProcess?: (pid: number) => void } = {}): Promise<Moto> {
    const tools = await pipTools("moto[server]");
    const child = spawn(tools.program("moto_server"), ["-H", "127.0.0.1", "-p", "0"], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    onProcess?.(child.pid!);
    const port = await new Promise<number>((resolve, reject) => {
      let text = "";
      child.stderr.on("data", (piece: Buffer) => {
        text += piece.toString();
        const found = /Running on http:\/\/127\.0\.0\.1:(\d+)\s/.exec(text);
        if (found) resolve(Number(found[1]));
      });
      child.once("close", () => reject(new Error(`moto ended: ${text}`)));
    });
    const proxy = createServer((incoming, outgoing) => {
      const pieces: Buffer[] = [];
      incoming.on("data", (piece: Buffer) => pieces.push(piece));
      incoming.on("end", () => {
        const body = Buffer.concat(pieces);
        const parameters = new URLSearchParams(body.toString());
        const target = incoming.headers["x-amz-target"];
        const action = typeof target === "string" ? target.split(".")[1]! : (parameters.get("Action") ?? "");
        moto.sent.push({ action, parameters });
        const told =
          action === "DescribeRegions" && moto.regions ? regionsOf(moto.regions) : NEVER_THERE[action];
        const given = moto.answer?.(action, parameters) ?? told;
        if (given) {
          outgoing.writeHead(given.status, { "content-type": "text/xml" }).end(given.body);
          return;
        }
        const onward = request(
          { host: "127.0.0.1", port, method: incoming.method, path: incoming.url, headers: incoming.headers },
          (reply) => {
            moto.onAnswered?.(action);
            outgoing.writeHead(reply.statusCode!, reply.headers);
            reply.pipe(outgoing);
          },
        );
        onward.on("error", () => outgoing.destroy());
        onward.end(body);
      });
    });
    const moto = new Moto(child, proxy, { host, port });
    await new Promise<void>((resolve) => proxy.listen(0, host, resolve));
    return moto;
  }

  get url(): string {
    return `http://${this.host}:${(this.proxy.address() as AddressInfo).port}`;
  }

  /** Forgets everything that was made and sent. */
  async reset(): Promise<void> {
    this.answer = undefined;
    await fetch(`${this.url}/moto-api/reset`, { method: "POST" });
    this.sent.splice(0);
  }

  requests(action: string): URLSearchParams[] {
    return this.sent.filter((one) => one.action === action).map(({ parameters }) => parameters);
  }

  async close(): Promise<void> {
    this.proxy.closeAllConnections();
    await new Promise((resolve) => this.proxy.close(resolve));
    if (this.server.exitCode !== null) return;
    const ended = new Promise((resolve) => this.server.once("close", resolve));
    this.server.kill("SIGTERM");
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
