export * from "@twinmetal/core";
export * from "@twinmetal/core/browser";
