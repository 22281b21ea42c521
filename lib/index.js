export * from "@twinmetal/host";
