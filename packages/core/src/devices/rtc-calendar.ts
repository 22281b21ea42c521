/**
 * Between seconds since 1970 and the date registers of an MC146818 (data sheet, "Time, calendar and alarm locations"):
 * BCD or binary, 12 or 24 hours. Decoding takes any bytes: digits and fields out of range carry over, as no correct
 * guest writes them.
 */
export interface RtcFormat {
  readonly isBinary: boolean;
  readonly is24Hours: boolean;
}

/** Second, minute, hour, weekday (1 = Sunday), day of month, month, year of the century, century: raw bytes. */
export type RtcFields = readonly [number, number, number, number, number, number, number, number];

const PM = 0x80;
const DAY_SECONDS = 86_400;
const DAYS_0000_TO_1970 = 719_468;
const DAYS_PER_ERA = 146_097;

export function encodeTime(seconds: number, weekdayShift: number, format: RtcFormat): RtcFields {
  const days = Math.floor(seconds / DAY_SECONDS);
  const ofDay = seconds - days * DAY_SECONDS;
  const [year, month, day] = dateOfDays(days);
  const put = (value: number): number => encodeNumber(value, format);
  return [
    put(ofDay % 60),
    put(Math.floor(ofDay / 60) % 60),
    encodeHour(Math.floor(ofDay / 3600), format),
    put(modulo(days + 4 + weekdayShift, 7) + 1),
    put(day),
    put(month),
    put(modulo(year, 100)),
    put(modulo(Math.floor(year / 100), 100)),
  ];
}

export function decodeTime(fields: RtcFields, format: RtcFormat): { seconds: number; weekdayShift: number } {
  const [second, minute, , weekday, day, month, year, century] = fields.map((byte) => decodeNumber(byte, format)) as [
    ...RtcFields,
  ];
  const hour = decodeHour(fields[2], format);
  const days = daysOfDate(century * 100 + year, month, day);
  const seconds = days * DAY_SECONDS + hour * 3600 + minute * 60 + second;
  return { seconds, weekdayShift: modulo(weekday - 1 - (Math.floor(seconds / DAY_SECONDS) + 4), 7) };
}

export function decodeNumber(byte: number, format: RtcFormat): number {
  return format.isBinary ? byte : (byte >>> 4) * 10 + (byte & 15);
}

export function decodeHour(byte: number, format: RtcFormat): number {
  if (format.is24Hours) return decodeNumber(byte, format);
  return (decodeNumber(byte & ~PM, format) % 12) + (byte & PM ? 12 : 0);
}

function encodeNumber(value: number, format: RtcFormat): number {
  return format.isBinary ? value : (Math.floor(value / 10) << 4) | (value % 10);
}

function encodeHour(hour: number, format: RtcFormat): number {
  if (format.is24Hours) return encodeNumber(hour, format);
  return encodeNumber(hour % 12 || 12, format) | (hour >= 12 ? PM : 0);
}

/** Days since 1970 of a date in the Gregorian calendar; the year is counted from March, so that leap days come last. */
function daysOfDate(year: number, month: number, day: number): number {
  const marchYear = year + Math.floor((month - 3) / 12);
  const marchMonth = modulo(month - 3, 12);
  const leapDays = Math.floor(marchYear / 4) - Math.floor(marchYear / 100) + Math.floor(marchYear / 400);
  const ofYear = Math.floor((153 * marchMonth + 2) / 5) + day - 1;
  return marchYear * 365 + leapDays + ofYear - DAYS_0000_TO_1970;
}

function dateOfDays(days: number): [year: number, month: number, day: number] {
  const shifted = days + DAYS_0000_TO_1970;
  const era = Math.floor(shifted / DAYS_PER_ERA);
  const ofEra = shifted - era * DAYS_PER_ERA;
  const yearOfEra = Math.floor(
    (ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  );
  const ofYear = ofEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const marchMonth = Math.floor((5 * ofYear + 2) / 153);
  const day = ofYear - Math.floor((153 * marchMonth + 2) / 5) + 1;
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9;
  return [era * 400 + yearOfEra + (month <= 2 ? 1 : 0), month, day];
}

function modulo(value: number, divisor: number): number {
  return ((value % divisor) + divisor) % divisor;
}
