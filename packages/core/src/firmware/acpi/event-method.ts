/** The name of the method that answers an edge of general-purpose event `index` (ACPI 6.5, 5.6.4.1), in \\_GPE. */
export function eventMethod(index: number): string {
  return `_E${index.toString(16).toUpperCase().padStart(2, "0")}`;
}
