/** Connections that are cut at any byte: what was cut goes on by itself, or by the same command again, and is whole. */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { copy } from "../../../src/transfer/copy.ts";
import { CuttingProxy } from "../../support/cutting-proxy.ts";
import type { Direction, MessageSizes } from "../../support/cutting-proxy.ts";
import { ENGINES, MiB, Place, counts } from "./place.ts";

/** One request, and two ranges or parts of the same size. */
const CONTENTS = [
  ["one request", randomBytes(300_000)],
  ["two ranges or parts", randomBytes(10 * MiB)],
] as const;

/** In the head, at its end, and in the body; not its end, behind which nothing is missing. */
function placesIn({ head, total }: MessageSizes): number[] {
  const body = total - head;
  const inBody = body === 0 ? [] : [head, head + 1, head + Math.floor(body / 2), total - 1];
  return [0, 1, Math.floor(head / 2), head - 1, ...inBody];
}

/** Dozens of copies each. */
const TIMEOUT_MS = 120_000;

describe.each(ENGINES)("with the %s engine", (engine) => {
  let place: Place;
  let proxy: CuttingProxy;

  beforeEach(async () => {
    place = await Place.open(engine);
    proxy = await CuttingProxy.before(place.s3.url);
  });

  afterEach(async () => {
    await proxy[Symbol.asyncDispose]();
    await place[Symbol.asyncDispose]();
  });

  const throughProxy = () => place.another({ endpoint: proxy.url });

  /** A round for each place at which the message may be cut. */
  async function eachCut(
    start: string,
    direction: Direction,
    run: (options: { signal?: AbortSignal }) => Promise<unknown>,
    check: (at: number) => Promise<void>,
  ): Promise<void> {
    const measured = proxy.sizes(start, direction);
    await run({});
    for (const at of placesIn(await measured)) {
      const cut = proxy.cut(start, direction, at);
      await Promise.all([cut, check(at)]);
    }
  }

  describe.each(CONTENTS)("%s", (_name, content) => {
    test(
      "an answer that is cut at any byte is gone on with, and the file is whole",
      async () => {
        await place.putInParts("object", content);
        const download = (target: string, options = {}) =>
          copy(throughProxy(), ["s3://data/object"], place.path(target), options);
        await eachCut(
          "GET /data/object",
          "down",
          () => download("uncut"),
          async (at) => {
            expect(counts(await download(`cut-${at}`))).toEqual({ downloaded: 1 });
            expect(place.read(`cut-${at}`).equals(content)).toBe(true);
          },
        );
      },
      TIMEOUT_MS,
    );

    test(
      "a download that ends where its answer was cut is completed by the same command",
      async () => {
        await place.putInParts("object", content);
        const measured = proxy.sizes("GET /data/object", "down");
        await copy(throughProxy(), ["s3://data/object"], place.path("uncut"));
        for (const at of placesIn(await measured)) {
          const target = place.path(`cut-${at}`);
          const ending = new AbortController();
          const cut = proxy.cut("GET /data/object", "down", at).then(() => ending.abort());
          const first = await copy(throughProxy(), ["s3://data/object"], target, { signal: ending.signal });
          await cut;
          expect(first).toMatchObject({ interrupted: true, downloaded: 0, failed: 0 });
          expect(existsSync(target)).toBe(false);
          const again = await copy(throughProxy(), ["s3://data/object"], target);
          expect(counts(again)).toEqual({ downloaded: 1 });
          expect(place.read(`cut-${at}`).equals(content)).toBe(true);
        }
        // Nothing is left of what was cut.
        expect(place.files().filter((name) => !/^(cut-\d+|uncut)$/.test(name))).toEqual([]);
      },
      TIMEOUT_MS,
    );

    test.each(["up", "down"] as const)(
      "an upload whose message going %s is cut at any byte is sent again, and the object is whole",
      async (direction) => {
        const file = place.file("file", content);
        const upload = (key: string) => copy(throughProxy(), [file], `s3://data/${key}`);
        await eachCut(
          "PUT /data/object",
          direction,
          () => upload("object"),
          async (at) => {
            expect(counts(await upload(`object-${at}`))).toEqual({ uploaded: 1 });
            expect((await place.get(`object-${at}`)).equals(content)).toBe(true);
          },
        );
        expect(await (await place.store()).listMultiparts("")).toEqual([]);
      },
      TIMEOUT_MS,
    );

    test(
      "an upload that ends where its request was cut is completed by the same command",
      async () => {
        const file = place.file("file", content);
        const measured = proxy.sizes("PUT /data/object", "up");
        await copy(throughProxy(), [file], "s3://data/object");
        for (const at of placesIn(await measured)) {
          const target = `s3://data/object-${at}`;
          const ending = new AbortController();
          const cut = proxy.cut(`PUT /data/object-${at}`, "up", at).then(() => ending.abort());
          const first = await copy(throughProxy(), [file], target, { signal: ending.signal });
          await cut;
          expect(first).toMatchObject({ interrupted: true, uploaded: 0, failed: 0 });
          expect(await place.keys(`object-${at}`)).toEqual([]);
          expect(counts(await copy(throughProxy(), [file], target))).toEqual({ uploaded: 1 });
          expect((await place.get(`object-${at}`)).equals(content)).toBe(true);
        }
        expect(await (await place.store()).listMultiparts("")).toEqual([]);
      },
      TIMEOUT_MS,
    );
  });
});
