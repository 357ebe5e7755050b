import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, describe, expect, test, vi } from "vitest";
import { createCredentialSource } from "../../../src/store/credentials.ts";
import { parseProfile, resolveEndpointUrl, resolveRegion } from "../../../src/store/region.ts";
import { TestClock } from "./test-clock.ts";

afterEach(() => vi.unstubAllEnvs());

describe("credential source", () => {
  test("takes the environment without loading the SDK", async () => {
    const source = createCredentialSource({
      env: { AWS_ACCESS_KEY_ID: "A", AWS_SECRET_ACCESS_KEY: "S", AWS_SESSION_TOKEN: "T" },
    });
    expect(source.current()).toBeUndefined();
    expect(await source.get()).toEqual({ accessKeyId: "A", secretAccessKey: "S", sessionToken: "T" });
    expect(source.current()).toMatchObject({ accessKeyId: "A" });
  });

  test("anonymous has none, and asks for none", async () => {
    const source = createCredentialSource({ credentials: "anonymous" });
    expect([source.anonymous, await source.get()]).toEqual([true, undefined]);
  });

  test("fetches once for many, ahead of expiry in the background, and tells listeners", async () => {
    const clock = new TestClock();
    let calls = 0;
    const fetch = async () => {
      calls++;
      return { accessKeyId: `A${calls}`, secretAccessKey: "S", expiresMs: clock.now() + 3_600_000 };
    };
    const source = createCredentialSource({ credentials: fetch, clock });
    const fresh: string[] = [];
    const off = source.onChange(({ accessKeyId }) => fresh.push(accessKeyId));
    await Promise.all([source.get(), source.get(), source.get()]);
    expect(calls).toBe(1);

    clock.advance(3_600_000 - 60_000);
    expect((await source.get())?.accessKeyId).toBe("A1");
    await vi.waitFor(() => expect(source.current()?.accessKeyId).toBe("A2"), 30_000);

    clock.advance(3_600_000);
    expect(source.current()).toBeUndefined();
    expect((await source.get())?.accessKeyId).toBe("A3");
    expect(fresh).toEqual(["A1", "A2", "A3"]);
    off();
  });

  test("what the store called expired is replaced; an older snapshot changes nothing", async () => {
    let calls = 0;
    const source = createCredentialSource({
      credentials: async () => ({ accessKeyId: `A${++calls}`, secretAccessKey: "S" }),
    });
    const first = (await source.get())!;
    source.invalidate(first);
    expect((await source.get())?.accessKeyId).toBe("A2");
    source.invalidate(first);
    expect((await source.get())?.accessKeyId).toBe("A2");
  });

  test("credentials that arrive expired are told, and a callable's failure is passed on", async () => {
    const old = createCredentialSource({
      credentials: async () => ({ accessKeyId: "A", secretAccessKey: "S", expiration: new Date(0) }),
    });
    await expect(old.get()).rejects.toMatchObject({ code: "credentials_expired" });
    const failing = createCredentialSource({
      credentials: () => Promise.reject(new Error("vault is sealed")),
    });
    await expect(failing.get()).rejects.toThrow("vault is sealed");
  });

  test("reads a profile, and says what to do when there is none", async () => {
    const folder = mkdtempSync(join(tmpdir(), "hawser-credentials-"));
    writeFileSync(
      join(folder, "credentials"),
      "[team]\naws_access_key_id = AP\naws_secret_access_key = SP\n",
    );
    vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", join(folder, "credentials"));
    vi.stubEnv("AWS_CONFIG_FILE", join(folder, "none"));
    vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
    const source = createCredentialSource({ profile: "team" });
    expect(await source.get()).toMatchObject({ accessKeyId: "AP", secretAccessKey: "SP" });
    await expect(createCredentialSource({ profile: "nobody" }).get()).rejects.toMatchObject({
      code: "credentials_missing",
      message: expect.stringMatching(/in profile nobody.*--profile.*--no-sign-request/),
    });
  });

  test("shows no secret to whoever inspects it", async () => {
    const source = createCredentialSource({ credentials: { accessKeyId: "A", secretAccessKey: "hush" } });
    await source.get();
    expect(inspect(source, { depth: 9, showHidden: true }) + JSON.stringify(source)).not.toContain("hush");
  });
});

describe("region and endpoint", () => {
  const config = [
    "[default]",
    "region = us-west-2",
    "[profile team]",
    "s3 =",
    "  region = nested",
    "region=eu-west-1",
    "endpoint_url = https://team.example",
    "# comment",
    "[services x]",
    "region = wrong",
  ].join("\n");

  test("a profile's own settings are found, nested ones are not", () => {
    expect(parseProfile(config, "team")).toEqual({
      region: "eu-west-1",
      endpointUrl: "https://team.example",
    });
    expect(parseProfile(config, "default")).toEqual({ region: "us-west-2" });
    expect(parseProfile(config, "none")).toEqual({});
  });

  test("option, AWS_REGION, AWS_DEFAULT_REGION, profile, in this order", async () => {
    const folder = mkdtempSync(join(tmpdir(), "hawser-region-"));
    writeFileSync(join(folder, "config"), config);
    const env = { AWS_CONFIG_FILE: join(folder, "config"), AWS_DEFAULT_REGION: "d", AWS_REGION: "r" };
    expect(await resolveRegion("o", env)).toBe("o");
    expect(await resolveRegion(undefined, env)).toBe("r");
    expect(await resolveRegion(undefined, { ...env, AWS_REGION: undefined })).toBe("d");
    const bare = { AWS_CONFIG_FILE: join(folder, "config") };
    expect(await resolveRegion(undefined, bare)).toBe("us-west-2");
    expect(await resolveRegion(undefined, bare, "team")).toBe("eu-west-1");
    expect(await resolveRegion(undefined, { AWS_CONFIG_FILE: "/nowhere" })).toBeUndefined();
    expect(await resolveEndpointUrl(undefined, bare, "team")).toBe("https://team.example");
    expect(await resolveEndpointUrl(undefined, { ...bare, AWS_ENDPOINT_URL: "http://e" })).toBe("http://e");
    const ignoring = { ...bare, AWS_ENDPOINT_URL: "http://e", AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "true" };
    expect(await resolveEndpointUrl(undefined, ignoring, "team")).toBeUndefined();
  });
});
