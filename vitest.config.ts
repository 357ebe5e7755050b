import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

const report = process.env["HAWSER_TEST_REPORT"];

/**
 * Files that run at once. Every file has servers, folders, mounts and state of its own, and waits for much of its time;
 * vitest's own choice would leave one of two cores without work.
 */
const WORKERS = Math.max(2, availableParallelism());

export default defineConfig({
  test: {
    reporters: report ? ["default", ["json", { outputFile: report }]] : ["default"],
    maxWorkers: WORKERS,
    // Limits bound how long a test that hangs is waited for, on a machine that is busy with other things as well.
    testTimeout: 120_000,
    // The AWS SDK that tests use to look into a bucket has an opinion about Node 20.
    env: { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true" },
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000 } },
    globalSetup: ["test/support/global-setup.ts"],
    coverage: { provider: "v8", include: ["src/**"], reporter: ["text-summary", "html"] },
    projects: [
      {
        extends: true,
        test: { name: "unit", include: ["test/unit/**/*.test.ts", "test/model/**/*.test.ts"] },
      },
      {
        extends: true,
        test: {
          name: "mount",
          include: ["test/{native,conformance,e2e}/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      {
        // Minutes of kill -9, each file with several daemons at once. Without parallel files the project is a group of its
        // own, which vitest runs when all others have ended.
        extends: true,
        test: {
          name: "crash",
          include: ["test/crash/**/*.test.ts"],
          fileParallelism: false,
          maxConcurrency: 3,
          // Two hundred processes one after another, four at a time, on a machine that is busy with other things as well.
          testTimeout: 1_800_000,
          hookTimeout: 600_000,
        },
      },
      {
        // Pools over real sshd processes, in network namespaces: as root.
        extends: true,
        test: {
          name: "pool",
          include: ["test/pool/*.test.ts"],
          // Every file has machines, addresses and folders of its own; most of the time they wait for each other.
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      {
        // The other steps at which a launcher or a node can be lost, in the same way; CI leaves them out.
        extends: true,
        test: {
          name: "pool-long",
          include: ["test/pool/long/*.test.ts"],
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      {
        extends: true,
        test: {
          name: "interop",
          include: ["test/interop/**/*.test.ts"],
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
});
