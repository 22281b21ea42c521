/** All instruction records. */
import "./arithmetic.ts";
