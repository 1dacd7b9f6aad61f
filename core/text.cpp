#include "core/text.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace vitrine {
namespace {

/// Levenshtein: insertions, deletions and replacements, each at cost 1.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t(0));
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& w : words) text += (text.empty() ? "" : ", ") + w;
  return text;
}

std::string nearest(const std::string& name, const std::vector<std::string>& names) {
  constexpr size_t kMost = 3, kFew = 12;
  std::vector<std::pair<size_t, std::string>> ranked;
  for (const std::string& n : names) {
    const bool part = !name.empty() && n.find(name) != std::string::npos;
    ranked.emplace_back(part ? 1 : edit_distance(name, n), n);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::string> close;
  for (const auto& [distance, n] : ranked)
    if (close.size() < kMost && distance <= std::max<size_t>(1, n.size() / 2)) close.push_back(n);
  if (close.empty() && names.size() <= kFew) return join(names);
  if (close.empty()) close.push_back(ranked.front().second);
  return join(close);
}

}  // namespace vitrine
