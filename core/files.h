#pragma once
#include <functional>
#include <iosfwd>
#include <string>

#include "core/error.h"

namespace vitrine {

/// A file that cannot be written, or a folder that cannot be made.
struct WriteError : IoError {
  using IoError::IoError;
};

/// `s` as a JSON string, quoted and escaped.
std::string json_text(const std::string& s);
/// A finite number in JSON; NaN and infinities, which JSON lacks, become null.
std::string json_number(double x);
/// Lets `write` fill a temporary file in the same folder, then renames it to `file`: readers see all of it or nothing.
/// @throws WriteError naming the file and the reason; no temporary file stays behind
void write_file_atomically(const std::string& file, const std::function<void(std::ostream&)>& write);
/// Removes what write_file_atomically leaves in `folder` when it is killed: FILE.PID.tmp of processes that have ended.
void remove_stale_temporaries(const std::string& folder);

}  // namespace vitrine
