/** Credentials that end before the pool does, on machines that have none of their own. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { HawserError } from "../../src/common/errors.ts";
import { parseFile } from "../../src/config/file.ts";
import type { CredentialProvider } from "../../src/store/credentials.ts";
import { Pool } from "../../src/launch/pool.ts";
import { runWhole } from "../../src/launch/whole-run.ts";
import { eventually } from "../e2e/harness.ts";
import { PoolWorld } from "../support/pool-world.ts";

/** The launcher hands new ones over this long before the end of the old ones. */
const RENEW_MS = 5 * 60_000;

let world: PoolWorld;
beforeAll(async () => {
  world = await PoolWorld.open({ hosts: [{}], login: "worker" });
  await world.put("data/a.txt", "alpha");
  await world.put("data/later.txt", "later");
});
afterEach(async () => {
  const pool = await Pool.find("train", "down", world.options()).catch((error: unknown) => {
    if (!HawserError.is(error, "pool_not_found")) throw error;
  });
  await pool?.down();
  pool?.close();
});
afterAll(() => world?.close());

interface Session {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string;
  expiresMs: number;
}

/** Credentials of a session that the store knows. */
function session(name: string, lifeMs: number): Session {
  const made = {
    accessKeyId: `ASIA${name}`,
    secretAccessKey: `secret-${name}`,
    sessionToken: `session-${name}`,
  };
  world.server.s3.credentials.set(made);
  return { ...made, expiresMs: Date.now() + lifeMs };
}

test("the launcher hands over new ones, and the mounts go on when the store takes the old ones no more", async () => {
  const [host] = world.bed.hosts;
  const { s3 } = world.server;
  let present = session("FIRST", RENEW_MS + 1000);
  const provider: CredentialProvider = () => Promise.resolve(present);
  const credentials = new Map([
    ["data", provider],
    ["out", provider],
  ]);
  const pool = await Pool.up({ ...world.request(), credentials }, world.options());
  expect((await pool.exec("cat /mnt/data/a.txt"))[0]).toMatchObject({ stdout: "alpha" });
  present = session("SECOND", 3600_000);
  for (const volume of ["data", "out"]) {
    const handed = async (): Promise<boolean> =>
      (await host!.exec(`grep -q ASIASECOND /run/hawser-pools/train/${volume}.json`)).code === 0;
    await eventually(`new ones of '${volume}' are there`, handed, 120_000);
  }
  s3.credentials.expire("ASIAFIRST", Date.now() - 1000);
  expect((await pool.exec("cat /mnt/data/later.txt"))[0]).toMatchObject({ code: 0, stdout: "later" });
  expect((await pool.exec("echo kept > /mnt/out/kept && sync /mnt/out/kept"))[0]).toMatchObject({ code: 0 });
  expect(await world.get("out/kept")).toBe("kept\n");
  const taken = s3.requests.records.filter(({ key, method, status }) => {
    return key === "out/kept" && method === "PUT" && status === 200;
  });
  expect(taken.map(({ accessKeyId }) => accessKeyId)).toEqual(["ASIASECOND"]);
  await pool.down();
  pool.close();
});

test("a detached run that would outlive them is refused before anything happens", async () => {
  const [host] = world.bed.hosts;
  const { sessionToken, ...keys } = session("SHORT", 3600_000);
  const environment = {
    ...world.environment,
    AWS_ACCESS_KEY_ID: keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
    AWS_CREDENTIAL_EXPIRATION: new Date(keys.expiresMs).toISOString(),
  };
  const options = { ...world.options(), environment };
  const request = (ttl: string) => ({
    ...parseFile(world.yaml(`job: "true"`, { pool: ttl }), "hawser.yaml", {}),
    baseFolder: world.bed.folder,
  });
  for (const ttl of ["  ttl: 8h", ""]) {
    await expect(runWhole(request(ttl), options, { detach: true })).rejects.toMatchObject({
      code: "credentials_expired",
      message: expect.stringMatching(
        /The credentials of the volume 'data' end at .*stay attached, set a ttl/,
      ),
    });
  }
  expect((await host!.exec("ls -A /var/lib/hawser/pools")).stdout).toBe("");
  await expect(runWhole(request("  ttl: 30m"), options, { detach: true })).resolves.toBeUndefined();
  const pool = await Pool.find("train", "down", options);
  await pool.down();
  pool.close();
});
