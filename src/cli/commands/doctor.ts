/** `hawser doctor`: what is wrong, and how to put it right. */
import { loadConfig } from "../../config/file.ts";
import type { Environment } from "../../config/interpolate.ts";
import type { Arguments, Command } from "../command.ts";
import type { Finding, Outcome } from "../doctor/check.ts";
import { machineFindings } from "../doctor/machine.ts";
import { capabilityRows, examineVolume } from "../doctor/volume.ts";
import type { Examined, VolumeFindings } from "../doctor/volume.ts";
import { EXIT } from "../exit-codes.ts";
import { table } from "../table.ts";
import type { Style, Terminal } from "../terminal.ts";
import { STORE_OPTIONS } from "../store-options.ts";
import { volumeFromFlags, withFlags } from "../volume-options.ts";

export const command: Command = {
  usage: ["[s3://BUCKET[/PREFIX]...]", "--config hawser.yaml"],
  description:
    "Checks what mounting needs on this machine and, for each volume given, credentials, bucket, clock, keys, cache " +
    "and what the store can do. Says how to fix what is wrong; the exit code is 1 when something is.",
  options: {
    config: { type: "string", alias: "c", value: "FILE", describe: "Check the volumes of a hawser.yaml" },
    probe: {
      type: "boolean",
      describe: "Find out what the store can do by writing, and removing, small objects",
    },
    json: { type: "boolean", describe: "Everything, as JSON" },
    ...STORE_OPTIONS,
  },
  examples: [
    ["doctor", "Check this machine"],
    ["doctor s3://my-data/imagenet", "Check a volume as well"],
  ],
  async run(args, terminal) {
    const machine = machineFindings();
    const volumes: VolumeFindings[] = [];
    for (const { volume, environment } of examined(args, terminal.environment)) {
      volumes.push(await examineVolume(volume, { environment, probe: args.flag("probe") }));
    }
    if (args.flag("json")) terminal.out(JSON.stringify({ machine, volumes }, null, 2));
    else print(machine, volumes, terminal);
    const all = [...machine, ...volumes.flatMap(({ findings }) => findings)];
    return all.some(({ outcome }) => outcome === "fail") ? EXIT.failure : EXIT.ok;
  },
};

/** Never used: doctor mounts nothing, and the schema wants a path. */
const NOWHERE = "/mnt/hawser-doctor";

function examined(
  args: Arguments,
  environment: NodeJS.ProcessEnv,
): { volume: Examined; environment: Environment }[] {
  const configPath = args.text("config");
  const named = args.positionals.map((source) => ({
    volume: volumeFromFlags(source, NOWHERE, args),
    environment,
  }));
  if (configPath === undefined) return named;
  const config = loadConfig(configPath, environment);
  const ofFile = config.volumes.map((volume) => ({
    volume: withFlags(volume, args),
    environment: config.environment,
  }));
  return [...ofFile, ...named];
}

const SIGNS: Record<Outcome, [Style, string]> = {
  ok: ["green", "ok"],
  warn: ["yellow", "warn"],
  fail: ["red", "FAIL"],
};

function print(machine: readonly Finding[], volumes: readonly VolumeFindings[], terminal: Terminal): void {
  terminal.out(terminal.paint("bold", "This machine"));
  printFindings(machine, terminal);
  for (const { source, findings, capabilities } of volumes) {
    terminal.out("");
    terminal.out(terminal.paint("bold", source));
    printFindings(findings, terminal);
    if (!capabilities) continue;
    terminal.out("");
    for (const line of table(["THE STORE CAN", "", "", "OTHERWISE"], capabilityRows(capabilities)))
      terminal.out(`  ${line}`);
    for (const note of capabilities.notes) terminal.out(terminal.paint("dim", `  ${note}`));
  }
}

function printFindings(findings: readonly Finding[], terminal: Terminal): void {
  const width = Math.max(...findings.map(({ title }) => title.length));
  for (const { title, outcome, detail, fix } of findings) {
    const [style, sign] = SIGNS[outcome];
    terminal.out(`  ${terminal.paint(style, sign.padEnd(4))}  ${title.padEnd(width)}  ${detail}`);
    if (fix) terminal.out(`        ${" ".repeat(width)}  ${terminal.paint("cyan", "fix:")} ${fix}`);
  }
}
