#include "apps/classifier/average_precision.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace vitrine::apps {

double mean_average_precision(const std::vector<float>& scores, const std::vector<bool>& present, int64_t classes) {
  const int64_t images = int64_t(scores.size()) / classes;
  std::vector<int64_t> order(static_cast<size_t>(images));
  double sum = 0;
  int64_t counted = 0;
  for (int64_t c = 0; c < classes; ++c) {
    const auto score = [&](int64_t i) { return scores[size_t(i * classes + c)]; };
    const auto has = [&](int64_t i) { return present[size_t(i * classes + c)]; };
    std::iota(order.begin(), order.end(), int64_t(0));
    const double positives = double(std::count_if(order.begin(), order.end(), has));
    if (positives == 0) continue;
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return score(a) > score(b); });
    double found = 0, average = 0;
    for (size_t k = 0; k < order.size();) {
      const double before = found;
      size_t end = k;
      while (end < order.size() && !(score(order[end]) < score(order[k]))) found += has(order[end++]);
      average += (found - before) / positives * found / double(end);
      k = end;
    }
    sum += average, ++counted;
  }
  return counted ? 100 * sum / double(counted) : NAN;
}

}  // namespace vitrine::apps
