export * from "@twinmetal/host";
export * from "@twinmetal/network";
export * from "@twinmetal/storage";
