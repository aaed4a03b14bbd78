import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { accessKey, keyWanted, takeAccessKey } from "../../src/api/access_key.ts";
import { ask } from "../../src/api/client.ts";

/** Requests that wait for their answers, with the keys that they carried. */
let asked: { key: string | null; answer: (status: number) => void }[] = [];

beforeEach(() => {
  asked = [];
  accessKey.value = "";
  keyWanted.value = "no";
  vi.stubGlobal("fetch", (_: string, { headers }: RequestInit) => {
    const key = new Headers(headers).get("authorization");
    return new Promise<Response>((resolve) => {
      asked.push({ key, answer: (status) => resolve(new Response("{}", { status })) });
    });
  });
});
afterEach(() => vi.unstubAllGlobals());

test("a key that is refused is asked for again", async () => {
  takeAccessKey("wrong");
  const answer = ask("/state");
  asked[0]?.answer(401);
  await expect(answer).rejects.toThrow();
  expect(keyWanted.value).toBe("refused");
});

test("a key that comes while another one is tried is not refused with it, and is tried", async () => {
  takeAccessKey("wrong");
  const answer = ask("/state");
  takeAccessKey("right");
  asked[0]?.answer(401);
  await vi.waitFor(() => expect(asked.length).toBe(2));
  expect(keyWanted.value).toBe("no");
  expect(asked[1]?.key).toBe("Bearer right");
  asked[1]?.answer(200);
  expect((await answer).ok).toBe(true);
});

test("a key that comes while none was known is tried too", async () => {
  const answer = ask("/state");
  takeAccessKey("right");
  asked[0]?.answer(401);
  await vi.waitFor(() => expect(asked.length).toBe(2));
  asked[1]?.answer(200);
  await answer;
  expect(keyWanted.value).toBe("no");
});
