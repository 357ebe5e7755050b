/** An account at moto, and a user's folder, for tests of what is asked of EC2 and IAM. Each test finds both empty. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { systemClock } from "../../src/common/clock.ts";
import { parseFile } from "../../src/config/file.ts";
import { recordVolume } from "../../src/launch/pool-record.ts";
import type { ProviderContext } from "../../src/launch/provider.ts";
import { Moto } from "./moto.ts";

export const KEYS = { accessKeyId: "AKIATEST", secretAccessKey: "secret" } as const;
export const OWNER = { id: "0b4f1a52-1111-4222-8333-444455556666", label: "alice@laptop" } as const;

const TEST_MS = 500_000;

export class Ec2Account {
  moto!: Moto;
  folder!: string;

  private constructor() {}

  /** The one account of a test file. */
  static forTests(): Ec2Account {
    const account = new Ec2Account();
    beforeAll(async () => {
      account.moto = await Moto.start();
    });
    afterAll(() => account.moto?.close());
    beforeEach(async () => {
      account.folder = mkdtempSync(join(tmpdir(), "hawser-ec2-"));
      await account.moto.reset();
    });
    afterEach(() => rmSync(account.folder, { recursive: true }));
    return account;
  }

  get environment(): Record<string, string> {
    return {
      AWS_ENDPOINT_URL: this.moto.url,
      AWS_ACCESS_KEY_ID: KEYS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
      AWS_CONFIG_FILE: "/nonexistent",
      XDG_CONFIG_HOME: this.folder,
      HAWSER_POOL_DIR: join(this.folder, "pools"),
    };
  }

  /** Of a pool called `train`, from a hawser.yaml with its volumes. */
  context(yaml: string, more: Partial<ProviderContext> = {}): ProviderContext {
    const { pool: config, volumes } = parseFile(yaml, "hawser.yaml", {});
    const context: ProviderContext = {
      name: "train",
      config: config!,
      volumes: volumes.map(recordVolume),
      owner: OWNER,
      expiresMs: undefined,
      folder: this.folder,
      state: undefined,
      save: (state) => {
        context.state = state;
        return Promise.resolve();
      },
      environment: this.environment,
      events: () => {},
      clock: systemClock,
      signal: AbortSignal.timeout(TEST_MS),
      ...more,
    };
    return context;
  }
}
