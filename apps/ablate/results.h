#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/ablate/tables.h"
#include "apps/train/config.h"

namespace vitrine::apps {

/// Mean and sample standard deviation of some values; the mean of none and the deviation of fewer than 2 are NaN.
struct Summary {
  double mean, deviation;
  explicit Summary(const std::vector<double>& values);
};

/// The finished runs of an ablation: the state of `vitrine ablate`, and what its tables are made from. Kept in
/// FOLDER/table.json.
class AblationResults {
 public:
  struct Run {
    double accuracy = 0;  ///< top-1 after the last epoch, in percent
    double seconds = 0;   ///< of training
  };

  /// @param base     the flags that all rows share; run k of a row has seed base.seed + k
  /// @param buckets  of each row, for people ("50 of 50", or "" without relative positions)
  AblationResults(const AblationTable& table, const TrainConfig& base, int64_t seeds, std::string device,
                  std::vector<std::string> buckets);

  /// Takes over the runs that FOLDER/table.json holds, if any. @throws IoError if it cannot be read, UsageError naming
  /// the flag if it was made with others; only the number of seeds may grow
  void restore(const std::string& folder);
  /// Writes table.json and table.md, each in one rename.
  void save(const std::string& folder) const;

  /// Of row r; run k is that of seed k.
  const std::vector<Run>& runs(size_t r) const { return runs_[r]; }
  void add(size_t r, const Run& run) { runs_[r].push_back(run); }
  nlohmann::ordered_json json() const;
  std::string markdown() const;
  /// The table for a terminal.
  std::string text() const;

 private:
  nlohmann::ordered_json settings() const;
  std::vector<double> accuracies(size_t r) const;
  std::vector<double> differences(size_t r) const;
  class Table cells() const;
  std::string heading() const;

  const AblationTable& table_;
  TrainConfig base_;
  int64_t seeds_;
  std::string device_;
  std::vector<std::string> buckets_;
  std::vector<std::vector<Run>> runs_;
};

}  // namespace vitrine::apps
