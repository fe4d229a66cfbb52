<?php

declare(strict_types=1);

return ['errands' => ['sink' => getenv('K_SINK'), 'webhook_secret' => getenv('ERRANDS_WEBHOOK_SECRET')]];
