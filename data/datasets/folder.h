#pragma once
#include <filesystem>
#include <string>

#include "core/error.h"

namespace vitrine::data {

/// @throws IoError unless `folder` is one that can be seen: the reason, and behind "no such folder" what to do
inline void require_folder(const std::filesystem::path& folder, const std::string& remedy = "") {
  std::error_code error;
  if (std::filesystem::is_directory(folder, error)) return;
  if (error == std::errc::no_such_file_or_directory)
    throw IoError(format("{}: no such folder{}", folder.string(), remedy));
  throw IoError(format("{}: {}", folder.string(), error ? error.message() : "is not a folder"));
}

}  // namespace vitrine::data
