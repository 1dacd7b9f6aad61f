#pragma once
#include <functional>
#include <iosfwd>
#include <string>

namespace vitrine {

/// `s` as a JSON string, quoted and escaped.
std::string json_text(const std::string& s);
/// A finite number in JSON; NaN and infinities, which JSON lacks, become null.
std::string json_number(double x);
/// Lets `write` fill a temporary file in the same folder, then renames it to `file`: readers see all of it or nothing.
/// @throws IoError naming the file and the reason; no temporary file stays behind
void write_file_atomically(const std::string& file, const std::function<void(std::ostream&)>& write);

}  // namespace vitrine
