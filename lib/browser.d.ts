export * from "@twinmetal/core";
