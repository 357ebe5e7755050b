/** How many requests of a copy are under way at once: as many as were asked for, in every direction. */
import { once } from "node:events";
import { createServer, request } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { copy } from "../../../src/transfer/copy.ts";
import { MiB, Place, counts } from "./place.ts";

/** More than a store's connections when nothing is said. */
const FILES = 100;

const open: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

/** Passes requests on, those of one method not before so many of them have come: fewer at once wait for ever. */
class Gate implements AsyncDisposable {
  readonly #server: Server;
  #held: (() => void)[] = [];
  most = 0;

  private constructor(to: URL, method: string, count: number) {
    this.#server = createServer((asked, answer) => {
      const pass = (): void => forward(to, asked, answer);
      // Of the objects themselves: the bucket is asked with a query.
      if (asked.method !== method || asked.url?.includes("?")) return pass();
      this.#held.push(pass);
      this.most = Math.max(this.most, this.#held.length);
      if (this.#held.length === count) for (const go of this.#held.splice(0)) go();
    });
  }

  static async open(to: string, method: string, count: number): Promise<Gate> {
    const gate = new Gate(new URL(to), method, count);
    gate.#server.listen(0, "127.0.0.1");
    await once(gate.#server, "listening");
    open.push(gate);
    return gate;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

function forward(to: URL, asked: IncomingMessage, answer: ServerResponse): void {
  const options = { host: to.hostname, port: to.port, path: asked.url, method: asked.method };
  const onward = request({ ...options, headers: asked.headers }, (response) => {
    answer.writeHead(response.statusCode ?? 500, response.headers);
    response.pipe(answer);
  });
  onward.on("error", () => answer.destroy());
  asked.pipe(onward);
}

test("a hundred files go up and come down at once when a hundred may", async () => {
  const place = await Place.open("lean", {}, { memoryBytes: 96 * MiB });
  open.push(place);
  for (let file = 0; file < FILES; file++) place.file(`src/${file}`, `file ${file}`);

  const up = await Gate.open(place.s3.url, "PUT", FILES);
  const sending = place.another({ endpoint: up.url, concurrency: FILES });
  const sent = await copy(sending, [place.path("src")], "s3://data/set", { recursive: true });
  expect(counts(sent)).toEqual({ uploaded: FILES });
  expect(up.most).toBe(FILES);

  const down = await Gate.open(place.s3.url, "GET", FILES);
  const receiving = place.another({ endpoint: down.url, concurrency: FILES });
  const received = await copy(receiving, ["s3://data/set/"], place.path("back"), { recursive: true });
  expect(counts(received)).toEqual({ downloaded: FILES });
  expect(down.most).toBe(FILES);
  expect(place.read("back/99").toString()).toBe("file 99");
});
