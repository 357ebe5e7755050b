/**
 * The bulk benchmark: `hawser s3` beside s5cmd, rclone and the AWS CLI, each a process of its own against one server.
 *
 *   npm run bench -- bulk [--runs 3] [--rows up-small,down-small,…] [--peers s5cmd,rclone,aws] [--shape]
 *                         [--server s3bench|dev-s3] [--aws-runs 1] [--folder FOLDER] [--s3bench FILE] [--s5cmd FILE] [--rclone FILE] [--aws FILE] [--json] [--check]
 *
 * Programs are found in PATH unless named (also by S3BENCH, S5CMD, RCLONE, AWS). Each contender has each place in the order
 * in turn. Every run begins with synced disks and a target of its own: in one that was just emptied ext4 steps over the
 * inodes of deleted files one by one, which takes longer than to download them. So it needs 20 GB of disk, and the medians are compared: seconds, CPU seconds with all children,
 * peak memory. `--shape` gives every answer of s3bench 20 ms and every connection 90 MB/s. `--check` ends with 1 when a bar is missed.
 */
import { spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ACCESS_KEY, ENDPOINT, SetupError, startDevS3, startS3bench } from "./bulk-server.ts";
import { median } from "./report.ts";

const MiB = 1024 * 1024;
/** Runs a command and prints its CPU seconds and peak RSS in KiB: what Node tells of a child is not enough. */
const MEASURE = `import os,sys,resource,time
t=time.time();p=os.posix_spawnp(sys.argv[1],sys.argv[1:],os.environ,file_actions=[(os.POSIX_SPAWN_OPEN,1,"/dev/null",os.O_WRONLY,0),(os.POSIX_SPAWN_OPEN,2,"/dev/null",os.O_WRONLY,0)])
_,s,r=os.wait4(p,0)
print(time.time()-t,r.ru_utime+r.ru_stime,r.ru_maxrss,os.waitstatus_to_exitcode(s))`;

type Peer = "hawser" | "s5cmd" | "rclone" | "aws";

interface Figures {
  seconds: number[];
  cpu: number[];
  rss: number[];
}

interface Row {
  name: string;
  title: string;
  /** Least ratio of s5cmd's time to ours, and of the AWS CLI's, which is another one with `--shape`. */
  bars: { s5cmd?: number; aws?: number; shapedAws?: number; cpu?: boolean };
  /** Few files and many bytes: the target goes at once, so that the next run finds the memory. */
  large?: boolean;
  /** What it needs in the bucket: a prefix of bulk-server.ts. */
  reads?: string;
  before?: (run: Run) => void;
  command: (peer: Peer, run: Run) => string[] | undefined;
}

interface Run {
  folder: string;
  target: string;
  sources: string;
}

/** The four programs' words for "copy a folder" and the like. */
const copyDown =
  (prefix: string) =>
  (peer: Peer, { target }: Run) =>
    ({
      hawser: ["s3", "cp", "-q", "-r", `s3://bench/${prefix}`, target],
      s5cmd: ["cp", `s3://bench/${prefix}*`, `${target}/`],
      rclone: ["copy", `bench:bench/${prefix}`, target],
      aws: ["s3", "cp", "--only-show-errors", "--recursive", `s3://bench/${prefix}`, target],
    })[peer];

const copyUp =
  (folder: string) =>
  (peer: Peer, { sources }: Run) =>
    ({
      hawser: ["s3", "cp", "-q", "-r", join(sources, folder), `s3://bench/up/${peer}/${folder}/`],
      s5cmd: ["cp", `${join(sources, folder)}/`, `s3://bench/up/${peer}/${folder}/`],
      rclone: ["copy", join(sources, folder), `bench:bench/up/${peer}/${folder}`],
      aws: [
        "s3",
        "cp",
        "--only-show-errors",
        "--recursive",
        join(sources, folder),
        `s3://bench/up/${peer}/${folder}/`,
      ],
    })[peer];

const oneDown = (peer: Peer, { target }: Run) =>
  ({
    hawser: ["s3", "cp", "-q", "s3://bench/big/0000000.bin", join(target, "big")],
    s5cmd: ["cp", "s3://bench/big/0000000.bin", join(target, "big")],
    rclone: ["copyto", "bench:bench/big/0000000.bin", join(target, "big")],
    aws: ["s3", "cp", "--only-show-errors", "s3://bench/big/0000000.bin", join(target, "big")],
  })[peer];

const oneUp = (peer: Peer, { sources }: Run) =>
  ({
    hawser: ["s3", "cp", "-q", join(sources, "big"), `s3://bench/up/${peer}/big`],
    s5cmd: ["cp", join(sources, "big"), `s3://bench/up/${peer}/big`],
    rclone: ["copyto", join(sources, "big"), `bench:bench/up/${peer}/big`],
    aws: ["s3", "cp", "--only-show-errors", join(sources, "big"), `s3://bench/up/${peer}/big`],
  })[peer];

const list = (prefix: string) => (peer: Peer) =>
  ({
    hawser: ["s3", "ls", "--recursive", `s3://bench/${prefix}`],
    s5cmd: ["ls", `s3://bench/${prefix}*`],
    rclone: ["lsf", "-R", `bench:bench/${prefix}`],
    aws: ["s3", "ls", "--recursive", `s3://bench/${prefix}`],
  })[peer];

const syncUp = (peer: Peer, { sources }: Run) =>
  ({
    hawser: ["s3", "sync", "-q", join(sources, "sync"), `s3://bench/up/sync/`],
    s5cmd: ["sync", `${join(sources, "sync")}/`, `s3://bench/up/sync/`],
    rclone: ["sync", join(sources, "sync"), `bench:bench/up/sync`],
    aws: ["s3", "sync", "--only-show-errors", join(sources, "sync"), `s3://bench/up/sync/`],
  })[peer];

const ROWS: readonly Row[] = [
  {
    name: "up-mid",
    title: "upload 100 files of 5 MiB",
    bars: { s5cmd: 1, shapedAws: 10, cpu: true },
    before: files("mid", 100, 5 * MiB),
    command: copyUp("mid"),
  },
  {
    name: "down-mid",
    large: true,
    title: "download 100 files of 5 MiB",
    bars: { s5cmd: 1, shapedAws: 10 },
    reads: "mid/",
    command: copyDown("mid/"),
  },
  {
    name: "down-small",
    title: "download 10,000 files of 100 KiB",
    bars: { s5cmd: 1.2, aws: 10, cpu: true },
    reads: "small/",
    command: copyDown("small/"),
  },
  {
    name: "up-small",
    title: "upload 10,000 files of 100 KiB",
    bars: { s5cmd: 1, aws: 10 },
    before: files("small", 10_000, 102_400),
    command: copyUp("small"),
  },
  {
    name: "down-big",
    large: true,
    title: "download one object of 2 GiB",
    bars: { s5cmd: 1 },
    reads: "big/",
    command: oneDown,
  },
  { name: "up-big", title: "upload one file of 2 GiB", bars: { s5cmd: 1 }, before: bigFile, command: oneUp },
  {
    name: "list",
    title: "list 100,000 keys",
    bars: { s5cmd: 1.5, aws: 10 },
    reads: "keys/",
    command: list("keys/"),
  },
  {
    name: "list-1000",
    title: "list 1,000 objects",
    bars: { s5cmd: 1, shapedAws: 12 },
    reads: "thousand/",
    command: list("thousand/"),
  },
  {
    name: "sync",
    title: "sync up with nothing to do, 20,000 files",
    bars: { s5cmd: 1.5 },
    before: synced,
    command: syncUp,
  },
  {
    name: "up-1000",
    title: "upload 1,000 files of 100 KiB",
    bars: { s5cmd: 1, aws: 10 },
    before: files("thousand", 1000, 102_400),
    command: copyUp("thousand"),
  },
  {
    name: "down-1000",
    title: "download 1,000 files of 100 KiB",
    bars: { s5cmd: 1, aws: 10 },
    reads: "thousand/",
    command: copyDown("thousand/"),
  },
];

/** Makes the sources of an upload, once. */
function files(folder: string, count: number, bytes: number): (run: Run) => void {
  return ({ sources }) => {
    const content = Buffer.alloc(bytes, "hawser bulk");
    for (let at = 0; at < count; at++) {
      const place = join(sources, folder, String(Math.floor(at / 100)).padStart(4, "0"));
      if (at % 100 === 0) mkdirSync(place, { recursive: true });
      content.writeUInt32LE(at, 0);
      const fd = openSync(join(place, `${String(at).padStart(6, "0")}.bin`), "w");
      writeSync(fd, content);
      closeSync(fd);
    }
  };
}

function bigFile({ sources }: Run): void {
  const piece = Buffer.alloc(8 * MiB, "hawser bulk");
  const fd = openSync(join(sources, "big"), "w");
  for (let at = 0; at < 256; at++) writeSync(fd, piece);
  closeSync(fd);
}

/** Sources that are in the bucket already. */
function synced(run: Run): void {
  files("sync", 20_000, 1024)(run);
  const { status } = spawnSync(process.execPath, [HAWSER, ...syncUp("hawser", run)], {
    env: environment(run.folder),
  });
  if (status !== 0) throw new Error("the files to synchronize could not be uploaded");
}

const HAWSER = fileURLToPath(new URL("../../../../bin/hawser.js", import.meta.url));

function environment(folder: string): NodeJS.ProcessEnv {
  // What a machine adds to the authorities is read by each program at its start, and serves none of them over plain HTTP.
  const { NODE_EXTRA_CA_CERTS: _node, AWS_CA_BUNDLE: _aws, ...own } = process.env;
  return {
    ...own,
    AWS_ACCESS_KEY_ID: ACCESS_KEY.id,
    AWS_SECRET_ACCESS_KEY: ACCESS_KEY.secret,
    AWS_REGION: "us-east-1",
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_ENDPOINT_URL: ENDPOINT,
    S3_ENDPOINT_URL: ENDPOINT,
    HAWSER_STATE_DIR: join(folder, "state"),
    RCLONE_CONFIG: join(folder, "rclone.conf"),
    RCLONE_CONFIG_BENCH_TYPE: "s3",
    RCLONE_CONFIG_BENCH_PROVIDER: "Other",
    RCLONE_CONFIG_BENCH_ENDPOINT: ENDPOINT,
    RCLONE_CONFIG_BENCH_ENV_AUTH: "true",
    RCLONE_CONFIG_BENCH_FORCE_PATH_STYLE: "true",
  };
}

function measure(
  command: string[],
  folder: string,
): { seconds: number; cpu: number; rss: number } | undefined {
  spawnSync("sync");
  const { stdout, error } = spawnSync("python3", ["-c", MEASURE, ...command], {
    env: environment(folder),
    encoding: "utf8",
  });
  const [seconds, cpu, rss, code] = (stdout ?? "").trim().split(" ").map(Number);
  if (error || code !== 0) return undefined;
  return { seconds: seconds!, cpu: cpu!, rss: rss! / 1024 };
}

export async function run(argv: readonly string[]): Promise<number> {
  try {
    return await compare(argv);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`error: ${error.message}`);
    return 2;
  }
}

async function compare(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      runs: { type: "string", default: "3" },
      // It takes minutes, and its ratios are far from any bar.
      "aws-runs": { type: "string", default: "1" },
      rows: { type: "string" },
      peers: { type: "string", default: "s5cmd,rclone,aws" },
      shape: { type: "boolean", default: false },
      server: { type: "string", default: "s3bench" },
      folder: { type: "string", default: tmpdir() },
      json: { type: "boolean", default: false },
      check: { type: "boolean", default: false },
      s3bench: { type: "string", default: process.env["S3BENCH"] ?? "s3bench" },
      s5cmd: { type: "string", default: process.env["S5CMD"] ?? "s5cmd" },
      rclone: { type: "string", default: process.env["RCLONE"] ?? "rclone" },
      aws: { type: "string", default: process.env["AWS"] ?? "aws" },
    },
  });
  const programs: Record<Peer, string[]> = {
    hawser: [process.execPath, HAWSER],
    s5cmd: [values.s5cmd],
    rclone: [values.rclone],
    aws: [values.aws],
  };
  const peers: Peer[] = [
    "hawser",
    ...values.peers.split(",").filter((name): name is Peer => name in programs),
  ];
  const wanted = values.rows?.split(",");
  const unknown = wanted?.find((name) => !ROWS.some((row) => row.name === name));
  if (unknown !== undefined) {
    throw new SetupError(
      `There is no row '${unknown}'; there are ${ROWS.map(({ name }) => name).join(", ")}.`,
    );
  }
  if (values.server === "dev-s3" && values.shape) throw new SetupError("--shape is for s3bench");
  const folder = mkdtempSync(join(values.folder, "hawser-bulk-"));
  const sources = join(folder, "sources");
  mkdirSync(sources);
  const rows = ROWS.filter(({ name }) => !wanted || wanted.includes(name));
  const results: { row: Row; figures: Map<Peer, Figures> }[] = [];
  let server: ChildProcess | undefined;
  try {
    server =
      values.server === "dev-s3"
        ? await startDevS3(
            HAWSER,
            folder,
            rows.flatMap(({ reads }) => reads ?? []),
          )
        : await startS3bench(values.s3bench, values.shape);
    for (const row of rows) {
      row.before?.({ folder, target: folder, sources });
      const figures = new Map<Peer, Figures>(peers.map((peer) => [peer, { seconds: [], cpu: [], rss: [] }]));
      for (let at = 0; at < Number(values.runs); at++) {
        const first = at % peers.length;
        for (const peer of [...peers.slice(first), ...peers.slice(0, first)]) {
          if (peer === "aws" && at >= Number(values["aws-runs"])) continue;
          const target = mkdtempSync(join(folder, "target-"));
          const command = row.command(peer, { folder, target, sources })!;
          const result = measure([...programs[peer], ...command], folder);
          if (row.large) rmSync(target, { recursive: true });
          if (!result) continue;
          figures.get(peer)!.seconds.push(result.seconds);
          figures.get(peer)!.cpu.push(result.cpu);
          figures.get(peer)!.rss.push(result.rss);
        }
      }
      results.push({ row, figures });
      if (!values.json) console.error(lineOf(row, figures, values.shape).join("  "));
      rmSync(sources, { recursive: true, force: true });
      mkdirSync(sources);
    }
  } finally {
    server?.kill();
    rmSync(folder, { recursive: true, force: true });
  }
  if (values.json) {
    console.log(
      JSON.stringify(results.map(({ row, figures }) => ({ row: row.name, ...Object.fromEntries(figures) }))),
    );
  } else console.log(table(results, values.shape, values.server));
  const missed = results.filter(({ row, figures }) =>
    barsOf(row, figures, values.shape).some(({ reached }) => !reached),
  );
  return values.check && missed.length > 0 ? 1 : 0;
}

interface Bar {
  text: string;
  reached: boolean;
}

function barsOf({ bars }: Row, figures: Map<Peer, Figures>, shaped: boolean): Bar[] {
  const of = (peer: Peer, what: keyof Figures): number | undefined => {
    const values = figures.get(peer)?.[what];
    return values && values.length > 0 ? median(values) : undefined;
  };
  const found: Bar[] = [];
  const ours = of("hawser", "seconds");
  for (const peer of ["s5cmd", "aws"] as const) {
    const least = peer === "aws" && shaped ? (bars.shapedAws ?? bars.aws) : bars[peer];
    const theirs = of(peer, "seconds");
    if (least === undefined || theirs === undefined || ours === undefined) continue;
    const ratio = theirs / ours;
    found.push({ text: `${ratio.toFixed(2)}x ${peer} (>= ${least}x)`, reached: ratio >= least });
  }
  const [cpu, theirCpu] = [of("hawser", "cpu"), of("s5cmd", "cpu")];
  if (bars.cpu && cpu !== undefined && theirCpu !== undefined) {
    found.push({ text: `CPU ${(cpu / theirCpu).toFixed(2)}x s5cmd's (<= 1x)`, reached: cpu <= theirCpu });
  }
  const rss = of("hawser", "rss");
  if (rss !== undefined && rss > 300)
    found.push({ text: `${rss.toFixed(0)} MB (<= 300 MB)`, reached: false });
  return found;
}

function lineOf(row: Row, figures: Map<Peer, Figures>, shaped: boolean): string[] {
  const cells = [...figures].map(([, { seconds, cpu, rss }]) =>
    seconds.length === 0
      ? "—"
      : `${median(seconds).toFixed(2)} s, ${median(cpu).toFixed(2)} CPU, ${median(rss).toFixed(0)} MB`,
  );
  const bars = barsOf(row, figures, shaped).map(({ text, reached }) => (reached ? text : `MISSED ${text}`));
  return [row.title, ...cells, bars.join("; ")];
}

/** As docs/PERFORMANCE.md has it. */
function table(
  results: { row: Row; figures: Map<Peer, Figures> }[],
  shaped: boolean,
  server: string,
): string {
  const names = [...(results[0]?.figures.keys() ?? [])];
  const lines = [
    ["work", ...names, "ratios and bars"],
    ["---", ...names.map(() => "---"), "---"],
    ...results.map(({ row, figures }) => lineOf(row, figures, shaped)),
  ];
  const about = [
    release(),
    `${cpus().length} CPUs`,
    cpus()[0]?.model ?? "",
    process.version,
    shaped ? "20 ms, 90 MB/s" : "",
    server,
  ];
  const version = JSON.parse(readFileSync(new URL("../../../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  const head = `hawser ${version.version} bulk: medians (${about.filter(Boolean).join(", ")})`;
  return [head, "", ...lines.map((line) => `| ${line.join(" | ")} |`)].join("\n");
}
