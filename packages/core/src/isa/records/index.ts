/** All instruction records. */
import "./arithmetic.ts";
import "./data.ts";
import "./shift.ts";
import "./control.ts";
import "./string.ts";
import "./system.ts";
import "./x87-control.ts";
import "./x87-move.ts";
import "./x87-compare.ts";
import "./fxsave.ts";
import "./xsave.ts";
import "./sse-move.ts";
import "./sse-int.ts";
import "./sse-float.ts";
import "./sse-compare.ts";
import "./sse-convert.ts";
import "./sse-control.ts";
