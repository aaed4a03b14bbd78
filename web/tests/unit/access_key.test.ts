import { describe, expect, test } from "vitest";
import { takeGiven } from "../../src/api/access_key.ts";

describe("a key in the address", () => {
  test("is taken out of it", () => {
    expect(takeGiven("#key=secret")).toEqual({ key: "secret", code: "", rest: "" });
    expect(takeGiven("#key=a%2Fb%20c")).toEqual({ key: "a/b c", code: "", rest: "" });
    expect(takeGiven("#chat/x&key=s")).toEqual({ key: "s", code: "", rest: "#chat/x" });
  });

  test("may be a code that is good for one", () => {
    expect(takeGiven("#code=once")).toEqual({ key: "", code: "once", rest: "" });
  });

  test("is absent where it is not there", () => {
    expect(takeGiven("")).toEqual({ key: "", code: "", rest: "" });
    expect(takeGiven("#chat/x")).toEqual({ key: "", code: "", rest: "#chat/x" });
    expect(takeGiven("#monkey=x")).toEqual({ key: "", code: "", rest: "#monkey=x" });
  });

  test("is taken as it is where it is not encoded well", () => {
    expect(takeGiven("#key=50%")).toEqual({ key: "50%", code: "", rest: "" });
  });
});
