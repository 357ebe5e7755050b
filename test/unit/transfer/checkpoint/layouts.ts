/** Checkpoints as their writers leave them: names, and as much content as tells whether they are whole. */
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export type Files = Record<string, Buffer | string>;

/** torch.save's form: a ZIP archive, here with one stored file. */
export function torchFile(content = "tensor"): Buffer {
  const name = Buffer.from("archive/data.pkl");
  const body = Buffer.from(content);
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt32LE(body.length, 18);
  local.writeUInt32LE(body.length, 22);
  local.writeUInt16LE(name.length, 26);
  const central = Buffer.alloc(46);
  central.writeUInt32LE(0x02014b50, 0);
  central.writeUInt32LE(body.length, 20);
  central.writeUInt32LE(body.length, 24);
  central.writeUInt16LE(name.length, 28);
  const start = 30 + name.length + body.length;
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(46 + name.length, 12);
  end.writeUInt32LE(start, 16);
  return Buffer.concat([local, name, body, central, name, end]);
}

export function safetensorsFile(bytes = 64): Buffer {
  const table = Buffer.from(JSON.stringify({ w: { dtype: "U8", shape: [bytes], data_offsets: [0, bytes] } }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(table.length));
  return Buffer.concat([length, table, Buffer.alloc(bytes, 7)]);
}

/** Hugging Face's Trainer, sharded. */
export function huggingFace(step: number, log: Record<string, number> = {}): Files {
  const folder = `checkpoint-${step}`;
  const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  return {
    [`${folder}/config.json`]: "{}",
    [`${folder}/${shards[0]}`]: safetensorsFile(64),
    [`${folder}/${shards[1]}`]: safetensorsFile(32),
    [`${folder}/model.safetensors.index.json`]: JSON.stringify({
      weight_map: { a: shards[0], b: shards[1] },
    }),
    [`${folder}/optimizer.pt`]: torchFile("optimizer"),
    [`${folder}/training_args.bin`]: torchFile("arguments"),
    [`${folder}/trainer_state.json`]: JSON.stringify({
      global_step: step,
      log_history: [
        { step: 1, eval_loss: 99 },
        { step, ...log },
      ],
    }),
  };
}

/** DeepSpeed, two ranks. `latest` is of the run. */
export function deepSpeed(step: number): Files {
  const folder = `global_step${step}`;
  return {
    [`${folder}/mp_rank_00_model_states.pt`]: torchFile("model"),
    [`${folder}/zero_pp_rank_0_mp_rank_00_optim_states.pt`]: torchFile("0"),
    [`${folder}/zero_pp_rank_1_mp_rank_00_optim_states.pt`]: torchFile("1"),
    latest: folder,
  };
}

/** torch.distributed.checkpoint, as FSDP writes it. */
export function distributed(step: number): Files {
  const folder = `step_${step}`;
  return {
    [`${folder}/__0_0.distcp`]: torchFile("0"),
    [`${folder}/__1_0.distcp`]: torchFile("1"),
    [`${folder}/.metadata`]: Buffer.from(
      "\x80\x04pickle\x8c\x0c__0_0.distcpq\x8c\x0c__1_0.distcpq.",
      "latin1",
    ),
  };
}

/** Long enough ago that everybody has settled. */
export const OLD_MS = Date.now() - 10 * 60_000;

/** Writes files below a folder. */
export function place(folder: string, files: Files, mtimeMs = OLD_MS): void {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    utimesSync(path, mtimeMs / 1000, mtimeMs / 1000);
  }
}
