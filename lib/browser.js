export * from "@twinmetal/core";
export * from "@twinmetal/core/browser";
export * from "@twinmetal/core/engine";
export * from "@twinmetal/core/translation";
