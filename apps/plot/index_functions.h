#pragma once
#include <string>

/// The two index functions of iRPE. Helper of a command.
namespace vitrine::apps {

/// Fig. 2 of the iRPE paper as an SVG document: the piecewise function g of a ratio beside the clip function h of the
/// same bound, over distances to both sides a little beyond gamma, where g is at its bound for good.
/// @param ratio  alpha; above 0
std::string index_functions_svg(double ratio);

}  // namespace vitrine::apps
