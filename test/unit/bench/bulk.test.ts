/** What the benchmark of copies says where it cannot measure. */
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { expect, test, vi } from "vitest";
import { SetupError, startS3bench } from "../../../bench/bulk-server.ts";
import { run } from "../../../bench/bulk.ts";

/** A port of our own: the benchmark's may be in use by a benchmark. */
async function withPort(taken: boolean, work: (port: number) => Promise<void>): Promise<void> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  if (!taken) await new Promise((resolve) => server.close(resolve));
  try {
    await work(port);
  } finally {
    server.close();
  }
}

test("a server that is not there is named, with what to do about it", () =>
  withPort(false, async (port) => {
    const starting = startS3bench("/there/is/none", false, port);
    await expect(starting).rejects.toBeInstanceOf(SetupError);
    await expect(starting).rejects.toThrow(
      "There is no program '/there/is/none'. Build it (go build) and name it by --s3bench FILE",
    );
  }));

test("one that ends at once is named with its code", () =>
  withPort(false, async (port) => {
    await expect(startS3bench("false", false, port)).rejects.toThrow(
      "false ended with 1 before it served anything.",
    );
  }));

test("a port that is taken is named, with how to find by whom", () =>
  withPort(true, async (port) => {
    const starting = startS3bench("/there/is/none", false, port);
    await expect(starting).rejects.toBeInstanceOf(SetupError);
    await expect(starting).rejects.toThrow(`Port ${port} is in use`);
    await expect(starting).rejects.toThrow(`ss -ltnp 'sport = :${port}'`);
  }));

test.each([
  [["--rows", "up-mid,nonsense"], "There is no row 'nonsense'; there are up-mid, down-mid,"],
  [["--server", "dev-s3", "--shape"], "--shape is for s3bench"],
])("%j is refused with one line and exit code 2", async (args, message) => {
  const said = vi.spyOn(console, "error").mockImplementation(() => undefined);
  try {
    expect(await run(args)).toBe(2);
    expect(said.mock.calls).toEqual([[expect.stringContaining(message)]]);
  } finally {
    said.mockRestore();
  }
});
