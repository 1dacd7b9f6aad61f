#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/train/event_file.h"

namespace vitrine::apps {

/// What a run says of its epochs, as files in its folder, each written anew after every epoch:
///
///   metrics.jsonl   a line per epoch, the one that the others are made of
///   log.txt         the same under the names of the reference's log, for the plots of its users
///   curves.svg      a picture
///   events.out.tfevents.*   for TensorBoard; this one is appended to
class RunLog {
 public:
  RunLog(const std::string& folder, const std::string& title) : folder_(folder), title_(title), events_(folder) {}

  /// Takes up the lines of metrics.jsonl in `folder` that belong to epochs before `epoch`. @throws IoError
  void restore(const std::string& folder, int64_t epoch);
  /// Adds the line of the next epoch and writes the files. @throws IoError
  void add(const nlohmann::ordered_json& line);
  /// Writes the files but TensorBoard's. @throws IoError
  void write() const;
  const std::vector<nlohmann::ordered_json>& lines() const { return lines_; }

 private:
  std::string folder_, title_;
  std::vector<nlohmann::ordered_json> lines_;
  EventFile events_;
};

}  // namespace vitrine::apps
