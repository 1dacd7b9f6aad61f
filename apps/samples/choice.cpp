#include "apps/samples/choice.h"

#include <algorithm>
#include <numeric>

#include "core/random.h"

namespace vitrine::apps {
namespace {

/// 0 .. n - 1 in an order of the draw's.
std::vector<int64_t> shuffled(int64_t n, RandomDraw draw) {
  std::vector<std::pair<uint32_t, int64_t>> keyed;
  for (int64_t i = 0; i < n; ++i) keyed.emplace_back(draw.bits(i), i);
  std::sort(keyed.begin(), keyed.end());
  std::vector<int64_t> order;
  for (const auto& [key, i] : keyed) order.push_back(i);
  return order;
}

bool is_safe(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

}  // namespace

std::vector<int64_t> spread_choice(const std::vector<int64_t>& classes, int64_t num_classes, int64_t count,
                                   uint64_t seed) {
  Generator rng{seed, 0};
  const std::vector<int64_t> class_order = shuffled(num_classes, rng.draw());
  std::vector<std::vector<int64_t>> members(static_cast<size_t>(num_classes));
  for (const int64_t i : shuffled(int64_t(classes.size()), rng.draw()))
    members[size_t(classes[size_t(i)])].push_back(i);
  std::vector<int64_t> chosen;
  for (size_t turn = 0; int64_t(chosen.size()) < count && turn < classes.size(); ++turn)
    for (const int64_t c : class_order)
      if (turn < members[size_t(c)].size() && int64_t(chosen.size()) < count)
        chosen.push_back(members[size_t(c)][turn]);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

std::string sample_name(int64_t index, const std::string& label) {
  constexpr size_t kDigits = 5, kLongest = 60;
  std::string name = std::to_string(index);
  name.insert(0, kDigits - std::min(kDigits, name.size()), '0');
  bool gap = true;
  for (char c : label.substr(0, kLongest)) {
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
    if (is_safe(c) && gap) name += '-';
    gap = !is_safe(c);
    if (!gap) name += c;
  }
  return name + ".png";
}

}  // namespace vitrine::apps
