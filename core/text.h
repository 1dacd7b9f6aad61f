#pragma once
#include <string>
#include <vector>

namespace vitrine {

/// "a, b, c"
std::string join(const std::vector<std::string>& words);

/// Up to three of `names` that are closest to `name` by edit distance, fewer if the rest are far off; all of `names` if
/// none is close and they are few. As text: "softmax, softplus".
std::string nearest(const std::string& name, const std::vector<std::string>& names);

}  // namespace vitrine
