// Everything that planners and worlds get to see of a scenario, as text: for comparing.
#pragma once

#include <string>

#include "core/scenario/document.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// Without names of files, descriptions and sources. Items in the order of their names.
std::string fingerprint(const Scenario& scenario);

}  // namespace ferry
