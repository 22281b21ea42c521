export * from "@twinmetal/host";
export * from "@twinmetal/storage";
