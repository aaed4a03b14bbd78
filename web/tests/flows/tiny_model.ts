import { writeFile } from "node:fs/promises";

/**
 * A model that says what it is told to say, for flows that need certain words: after a token of `answers` comes the first
 * piece of its answer, after each piece the next one, and at last the end. Its weights, in a GGUF file, are a table of which
 * token follows which: one layer of zeros between an embedding and an output that know each token by a place of its own.
 */
export interface TinyModel {
  /** The pieces of an answer, by the letter with which the prompt ends; the first is for all other ends. */
  answers: Readonly<Record<string, readonly string[]>>;
  /** Names further tokens: such as mark the parts of a text that is to be filled in. */
  markers?: readonly string[];
  /** Added to the file's own. */
  metadata?: Readonly<Record<string, string>>;
}

const DIM = 128;
const FFN_DIM = 32;
const EOS = 2;
const ALIGNMENT = 32;
/** GGUF's numbers of types. */
const U32 = 4;
const I32 = 5;
const F32 = 6;
const STRING = 8;
const ARRAY = 9;

export async function writeTinyModel(path: string, model: TinyModel): Promise<void> {
  const letters = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));
  const ordinary = ["▁", ...letters, ...new Set(Object.values(model.answers).flat())];
  const tokens = ["<unk>", "<s>", "</s>", ...ordinary, ...(model.markers ?? [])];
  if (tokens.length > DIM) throw new Error(`${tokens.length} tokens are more than ${DIM}`);
  const kinds = tokens.map((_, id) => (id === 0 ? 2 : id < 3 || id >= 3 + ordinary.length ? 3 : 1));
  const fields: Buffer[] = [
    ...entry("general.architecture", STRING, string("llama")),
    ...Object.entries({
      block_count: 1,
      context_length: 4096,
      embedding_length: DIM,
      feed_forward_length: FFN_DIM,
      "attention.head_count": 4,
      "attention.head_count_kv": 4,
    }).flatMap(([name, size]) => entry(`llama.${name}`, U32, u32(size))),
    ...entry("llama.attention.layer_norm_rms_epsilon", F32, f32([1e-5])),
    ...entry("tokenizer.ggml.model", STRING, string("llama")),
    ...entry("tokenizer.ggml.tokens", ARRAY, array(STRING, tokens.length, tokens.map(string))),
    ...entry("tokenizer.ggml.scores", ARRAY, array(F32, tokens.length, [f32(tokens.map((_, id) => -id))])),
    ...entry("tokenizer.ggml.token_type", ARRAY, array(I32, tokens.length, kinds.map(u32))),
    ...Object.entries(model.metadata ?? {}).flatMap(([name, text]) => entry(name, STRING, string(text))),
  ];
  const tensors = tensorsOf(tokens.length, followers(model, tokens));
  let offset = 0;
  const infos = tensors.map(({ name, shape, values }) => {
    const info = [string(name), u32(shape.length), ...shape.toReversed().map(u64), u32(0), u64(offset)];
    offset += padded(4 * values.length);
    return Buffer.concat(info);
  });
  // An entry is a name, a type and a value.
  const head = Buffer.concat([Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(fields.length / 3), ...fields, ...infos]);
  const data = tensors.map(({ values }) => fill(f32(values)));
  await writeFile(path, Buffer.concat([fill(head), ...data]));
}

/** Which token follows each. */
function followers({ answers }: TinyModel, tokens: readonly string[]): number[] {
  const idOf = (text: string): number => {
    const id = tokens.indexOf(text);
    if (id < 0) throw new Error(`${text} is no token`);
    return id;
  };
  const first = Object.values(answers)[0]?.[0];
  const next = tokens.map(() => (first === undefined ? EOS : idOf(first)));
  for (const [end, pieces] of Object.entries(answers)) {
    let before = idOf(end);
    for (const piece of pieces) {
      next[before] = idOf(piece);
      before = idOf(piece);
    }
    next[before] = EOS;
  }
  return next;
}

interface Tensor {
  name: string;
  shape: readonly number[];
  values: Float32Array;
}

function tensorsOf(count: number, next: readonly number[]): Tensor[] {
  const embedding = new Float32Array(count * DIM);
  const output = new Float32Array(count * DIM);
  next.forEach((follower, id) => {
    embedding[id * DIM + id] = 1;
    output[follower * DIM + id] = 1;
  });
  const tensor = (name: string, shape: readonly number[], value: number): Tensor => {
    return { name, shape, values: new Float32Array(shape.reduce((a, b) => a * b)).fill(value) };
  };
  return [
    { name: "token_embd.weight", shape: [count, DIM], values: embedding },
    { name: "output.weight", shape: [count, DIM], values: output },
    tensor("output_norm.weight", [DIM], 1),
    tensor("blk.0.attn_norm.weight", [DIM], 1),
    tensor("blk.0.ffn_norm.weight", [DIM], 1),
    tensor("blk.0.ffn_gate.weight", [FFN_DIM, DIM], 0),
    tensor("blk.0.ffn_up.weight", [FFN_DIM, DIM], 0),
    tensor("blk.0.ffn_down.weight", [DIM, FFN_DIM], 0),
    ...["q", "k", "v", "output"].map((part) => tensor(`blk.0.attn_${part}.weight`, [DIM, DIM], 0)),
  ];
}

function entry(name: string, type: number, value: Buffer): [Buffer, Buffer, Buffer] {
  return [string(name), u32(type), value];
}

function array(type: number, length: number, values: readonly Buffer[]): Buffer {
  return Buffer.concat([u32(type), u64(length), ...values]);
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function f32(values: ArrayLike<number>): Buffer {
  return Buffer.from(Float32Array.from(values).buffer);
}

function padded(length: number): number {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}

function fill(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(padded(bytes.length) - bytes.length)]);
}
