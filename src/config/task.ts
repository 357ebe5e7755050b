/** The keys of hawser.yaml that say what a pool does: files, setup, job, service. */
import { z } from "zod";
import { TRANSFER_KEYS } from "./transfers.ts";
import { absolutePath, duration, flag } from "./values.ts";

const commandLine = z.string("must be a command line").min(1, "must be a command line");

const count = (what: string) =>
  z
    .union([z.string(), z.int()], `must be ${what}`)
    .transform((value) => Number(value))
    .refine((value) => Number.isInteger(value) && value >= 0 && value <= 1000, `must be ${what}`);

const portNumber = z
  .union([z.string(), z.int()], "must be a port such as 8080")
  .transform((value) => Number(value))
  .refine((value) => Number.isInteger(value) && value > 0 && value < 65_536, "must be a port such as 8080");

const readiness = z.strictObject({
  port: portNumber.optional().meta({ description: "Ready when this port of the node accepts connections." }),
  path: z
    .string()
    .regex(/^\//, "must begin with /")
    .optional()
    .meta({ description: "With port: ready when a GET of this path answers with 200 to 399." }),
  command: commandLine.optional().meta({ description: "Ready when this command ends with 0 on the node." }),
  interval: duration.optional().meta({ description: "Between two looks. Default: 1s." }),
  timeout: duration.optional().meta({ description: "How long it may take to become ready. Default: 5m." }),
});

const variableName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "must be the name of a variable");

export const TASK_KEYS = {
  workdir: z.string("must be a folder").min(1, "must be a folder").optional().meta({
    description:
      "Folder beside this file whose content goes to every node, where setup and job run; .gitignore and .hawserignore apply.",
  }),
  files: z
    .array(
      z.strictObject({
        from: z.string().min(1).meta({ description: "File or folder of this machine." }),
        to: absolutePath.meta({
          description: "Absolute path of it on the nodes: the file's or folder's own.",
        }),
      }),
      "must be a list of { from, to }",
    )
    .optional()
    .meta({ description: "More files for every node." }),
  ...TRANSFER_KEYS,
  setup: z
    .union([commandLine.transform((line) => [line]), z.array(commandLine)], "must be a list of command lines")
    .optional()
    .meta({
      description:
        "Commands run on every node before the job, and again only when they or the files changed.",
    }),
  job: z
    .union(
      [commandLine, z.array(z.string()).min(1, "must not be empty")],
      "must be a command line, or a list of a program and its arguments",
    )
    .optional()
    .meta({ description: "What runs on every node. Text is given to sh; a list is run as it is." }),
  env: z
    .record(variableName, z.string(), "must be variables and their values")
    .optional()
    .meta({ description: "Environment of setup and job." }),
  image: z
    .string()
    .regex(
      /^[a-z0-9][A-Za-z0-9._/:@-]*$/,
      "must be the name of an image such as nvcr.io/nvidia/pytorch:24.05-py3",
    )
    .optional()
    .meta({ description: "Run setup and job in this Docker image, with the node's GPUs and the volumes." }),
  service: z
    .union([flag, readiness], "must be true, or { port, path, command, interval, timeout }")
    .optional()
    .meta({
      description:
        "The job serves until it is stopped: it is restarted when it ends, and says when it is ready.",
    }),
  restarts: count("a number of restarts such as 3")
    .optional()
    .meta({ description: "How often the job is started again after a failure. Default: 0." }),
  after: z
    .strictObject({
      success: commandLine
        .optional()
        .meta({ description: "Run on this machine when the job has succeeded." }),
      failure: commandLine.optional().meta({ description: "Run on this machine when the job has failed." }),
    })
    .optional()
    .meta({ description: "What this machine runs once everything written is verified in the bucket." }),
} as const;

export const taskSchema = z.strictObject(TASK_KEYS);

/** What a pool does, as written. */
export type TaskInput = z.input<typeof taskSchema>;
/** With every value parsed; paths are still as written. */
export type TaskConfig = z.output<typeof taskSchema>;
export type ReadinessConfig = z.output<typeof readiness>;
