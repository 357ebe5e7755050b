/**
 * `cleanup --install-timer`: the same cleanup on a schedule.
 *
 * With systemd as a timer, of the system for root and of the user for everybody else; where systemd does not run, as a line
 * of the user's crontab; where there is neither, it says so and does nothing. Credentials are what the AWS chain finds
 * then, and never written down.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { HawserError } from "../../common/errors.ts";
import type { Milliseconds } from "../../common/units.ts";
import type { Arguments } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { usageError } from "../parse.ts";
import { durationOption } from "../s3/arguments.ts";
import { PROGRAM, shellQuote, systemdQuote } from "../system-files.ts";
import type { Terminal } from "../terminal.ts";
import { FIND_OPTIONS, KEEP_OPTIONS } from "./arguments.ts";

const MARK = "Installed by 'hawser checkpoint cleanup --install-timer'.";
const EVERY_MS: Milliseconds = 3_600_000;
const MINUTE_MS: Milliseconds = 60_000;

/** What keeps the schedule. */
export interface Scheduler {
  kind: "system" | "user" | "cron";
}

interface Timer {
  /** Of units, and in the crontab's comment. */
  name: string;
  place: string;
  everyMs: Milliseconds;
  words: string[];
}

/** @returns the exit code @throws HawserError `not_supported` where nothing keeps a schedule */
export function installTimer(
  text: string,
  args: Arguments,
  terminal: Terminal,
  what: "install" | "remove",
): Promise<number> {
  const timer = timerOf(text, args);
  const scheduler = findScheduler(terminal.environment, args.text("scheduler"));
  if (scheduler.kind === "cron") cron(timer, what, terminal);
  else systemd(timer, scheduler.kind, what, terminal);
  return Promise.resolve(EXIT.ok);
}

/** @throws HawserError `invalid_argument` */
function timerOf(text: string, args: Arguments): Timer {
  const everyMs = durationOption(args, "every") ?? EVERY_MS;
  if (everyMs < MINUTE_MS || everyMs % MINUTE_MS !== 0)
    throw usageError("checkpoint cleanup", "--every must be whole minutes, and at least one");
  const place = text.includes("://") ? text : resolve(text);
  // A line of a unit or of a crontab is one line.
  // oxlint-disable-next-line no-control-regex
  if (/[\x00-\x1f]/.test(place))
    throw usageError("checkpoint cleanup", "The place has a control character in its name");
  const hash = createHash("sha256").update(place).digest("hex").slice(0, 12);
  return { name: `hawser-cleanup-${hash}`, place, everyMs, words: [...wordsOf(place, args)] };
}

/** The command, with the options that were given. */
function* wordsOf(place: string, args: Arguments): Generator<string> {
  yield* [process.execPath, PROGRAM, "checkpoint", "cleanup", place, "--yes"];
  for (const [name, { type }] of Object.entries({ ...KEEP_OPTIONS, ...FIND_OPTIONS })) {
    if (type === "boolean" && args.flag(name)) yield `--${name}`;
    const value = type === "boolean" ? undefined : args.text(name);
    if (value !== undefined) yield `--${name}=${value}`;
  }
}

/** @throws HawserError `not_supported` */
export function findScheduler(environment: NodeJS.ProcessEnv, wanted?: string): Scheduler {
  const isRoot = process.getuid?.() === 0;
  // As sd_booted(3) does; a user's manager has its own folder.
  const mayBeSystemd = wanted !== "cron";
  if (mayBeSystemd && isRoot && existsSync("/run/systemd/system")) return { kind: "system" };
  const runtime = environment["XDG_RUNTIME_DIR"];
  if (mayBeSystemd && !isRoot && runtime !== undefined && existsSync(join(runtime, "systemd")))
    return { kind: "user" };
  if (
    wanted !== "systemd" &&
    spawnSync("crontab", ["-l"], { stdio: "ignore", env: environment }).error === undefined
  )
    return { kind: "cron" };
  const missing = [
    ...(mayBeSystemd ? [`systemd does not run${isRoot ? "" : " for this user"}`] : []),
    ...(wanted === "systemd" ? [] : ["there is no crontab"]),
  ];
  throw new HawserError(
    "not_supported",
    `Nothing on this machine keeps a schedule: ${missing.join(", and ")}. ` +
      "Run 'hawser checkpoint cleanup' from a scheduler of your own.",
  );
}

function systemd(
  { name, place, everyMs, words }: Timer,
  kind: "system" | "user",
  what: string,
  terminal: Terminal,
): void {
  const folder =
    kind === "system"
      ? "/etc/systemd/system"
      : join(terminal.environment["XDG_CONFIG_HOME"] ?? join(homedir(), ".config"), "systemd", "user");
  const files = unitsOf({ name, place, everyMs, words });
  const control = (...more: string[]): void => {
    const ran = spawnSync("systemctl", [...(kind === "user" ? ["--user"] : []), ...more], {
      encoding: "utf8",
    });
    if (ran.status === 0) return;
    throw new HawserError(
      "io_error",
      `systemctl ${more.join(" ")}: ${ran.stderr || ran.error?.message}`.trim(),
    );
  };
  if (what === "remove") {
    if (!existsSync(join(folder, `${name}.timer`))) throw noTimer(place);
    control("disable", "--now", `${name}.timer`);
    for (const file of Object.keys(files)) rmSync(join(folder, file), { force: true });
    control("daemon-reload");
    return terminal.err(`hawser: removed ${name}.timer`);
  }
  mkdirSync(folder, { recursive: true });
  for (const [file, content] of Object.entries(files)) writeFileSync(join(folder, file), content);
  control("daemon-reload");
  control("enable", "--now", `${name}.timer`);
  terminal.err(
    `hawser: ${join(folder, `${name}.timer`)} cleans ${place} up every ${everyMs / MINUTE_MS} min`,
  );
  if (kind === "user")
    terminal.err(
      "hawser: it runs while you are logged in; 'loginctl enable-linger' keeps it running after that",
    );
}

/** The service and its timer. */
export function unitsOf({ name, place, everyMs, words }: Timer): Record<string, string> {
  const command = words.map(systemdQuote).join(" ");
  return {
    [`${name}.service`]: `# ${MARK}
[Unit]
Description=Cleans up checkpoints in ${place.replaceAll("%", "%%")}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart=${command}
`,
    [`${name}.timer`]: `# ${MARK}
[Unit]
Description=Cleans up checkpoints in ${place.replaceAll("%", "%%")}

[Timer]
OnActiveSec=${everyMs / 1000}
OnUnitActiveSec=${everyMs / 1000}

[Install]
WantedBy=timers.target
`,
  };
}

function cron(timer: Timer, what: "install" | "remove", terminal: Terminal): void {
  const env = terminal.environment;
  const { stdout, status } = spawnSync("crontab", ["-l"], { encoding: "utf8", env });
  const present = status === 0 ? stdout.split("\n").filter((line) => line !== "") : [];
  const comment = `# ${timer.name}: ${MARK}`;
  const at = present.indexOf(comment);
  // The comment and the line behind it are ours.
  const others = at < 0 ? present : present.filter((_line, index) => index !== at && index !== at + 1);
  if (what === "remove" && at < 0) throw noTimer(timer.place);
  const lines = what === "remove" ? others : [...others, comment, cronLine(timer)];
  const ran = spawnSync("crontab", ["-"], {
    input: lines.map((line) => `${line}\n`).join(""),
    encoding: "utf8",
    env,
  });
  if (ran.status !== 0)
    throw new HawserError("io_error", `crontab did not take the schedule: ${ran.stderr}`.trim());
  if (what === "remove") return terminal.err(`hawser: removed ${timer.name} from your crontab`);
  terminal.err(`hawser: your crontab cleans ${timer.place} up every ${timer.everyMs / MINUTE_MS} min`);
  if (!cronRuns()) terminal.err("hawser: no cron daemon is running: start one, or nothing will happen");
}

/** @throws HawserError `invalid_argument` for what cron cannot say */
export function cronLine({ everyMs, words }: Pick<Timer, "everyMs" | "words">): string {
  const minutes = everyMs / MINUTE_MS;
  // To cron a percent sign is a line's end.
  const command = words.map(shellQuote).join(" ").replaceAll("%", "\\%");
  if (minutes < 60 && 60 % minutes === 0) return `*/${minutes} * * * * ${command}`;
  if (minutes % 60 === 0 && minutes < 1440 && 24 % (minutes / 60) === 0)
    return `0 */${minutes / 60} * * * ${command}`;
  if (minutes === 1440) return `0 0 * * * ${command}`;
  throw new HawserError(
    "invalid_argument",
    "--every: cron takes parts of an hour or a day, such as 15m, 1h, 6h or 1d.",
  );
}

function cronRuns(): boolean {
  for (const path of ["/run/crond.pid", "/var/run/crond.pid", "/run/cron.pid"]) {
    try {
      return existsSync(`/proc/${Number(readFileSync(path, "utf8"))}`);
    } catch {
      // Looked for under its other names.
    }
  }
  return false;
}

function noTimer(place: string): HawserError {
  return new HawserError("not_found", `There is no schedule for ${place}.`);
}
