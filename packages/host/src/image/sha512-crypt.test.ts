import { expect, test } from "vitest";
import { sha512Crypt } from "./sha512-crypt.ts";

// What `openssl passwd -6 -salt SALT PASSWORD` prints.
test.each([
  [
    "Hello world!",
    "saltstring",
    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
  ],
  [
    "a",
    "saltsalt",
    "$6$saltsalt$8gzUrz5S2/0AfMGfui2LllQQ2fwu.jYnAVGef2XY7gAo0jNFrzHsTq9lMr2ze7QvIJxr4BYOKdgDpx4Va9Atb1",
  ],
  [
    "correct horse battery staple, which is longer than sixty-four bytes of text",
    "x",
    "$6$x$LFOkKio4NkANmrXMUiZ3YfL4f7ssJTLbaZ6/9PZgxyEECYdXpiHVRjG7YwExMb9PMfqUR/6LkZL12kF8dlC5s0",
  ],
  [
    "größer",
    "0123456789abcdef",
    "$6$0123456789abcdef$8rnGczCoe7dOmveABJrAXdEFiAUOF7gabxIfbc9CaaSCwCNQqzCyeQ0ax264qcMMGgcKrb5pkyvzxvzepmeq80",
  ],
])("the hash of %s", (password, salt, hash) => {
  expect(sha512Crypt(password, salt)).toBe(hash);
});
